"""Draws what a search requests: useful or noisy documents, the kind of noise, and a seed."""

from __future__ import annotations

from zs_env.noise import KindWeights, NoiseDraw, draw_noise_kind
from zs_env.questions.question import Question
from zs_env.search.types import SearchRequest
from zs_env.text.hashing import mixed, stable_hash, uniform


def draw_request(
    query: str,
    question: Question,
    *,
    digest: int,
    group_bits: int,
    num_documents: int,
    noise_probability: float,
    noise_draw: NoiseDraw,
    noise_kinds: KindWeights,
    flipped: bool,
) -> SearchRequest:
    """Return the request of a query.

    Args:
        query: text of the agent.
        question: the question of the episode.
        digest: bits of this search, which determine every draw but those of a group.
        group_bits: bits of the turn in all episodes of the group, for the draw "group".
        num_documents: number of requested documents.
        noise_probability: probability in [0, 1] that a page or a document is noisy.
        noise_draw: what is drawn as useful or noisy.
        noise_kinds: kinds of noise and their weights.
        flipped: whether noisy documents are requested instead of useful ones and the reverse.
    """
    bits = group_bits if noise_draw == "group" else digest
    if noise_draw == "document":
        useful = tuple(
            uniform(stable_hash(f"{digest}\0{rank}")) >= noise_probability
            for rank in range(num_documents)
        )
    else:
        useful = (uniform(bits) >= noise_probability,) * num_documents
    if flipped:
        useful = tuple(not flag for flag in useful)
    kind = draw_noise_kind(noise_kinds, f"{bits}\0kind")
    # Mixed, because the same bits decide `useful`, and the seed must not reveal that draw.
    seed = mixed(digest) >> 1
    return SearchRequest(query, question.text, question.answers or None, useful, seed, kind)
