"""Answer substitution: replaces the answer of a training pair by the answer of another pair.

A small model that is tuned only on real pages learns to recall facts about a topic instead of
copying the answer from its prompt. If prompt and page contain a wrong answer, only the prompt
predicts it, so the model learns to copy.

Source: entity substitution, Longpre et al., arXiv:2109.05052.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agents.simulator_tuning.pairs import Pair
from zs_env.metrics import contains_answer
from zs_env.search.types import SearchRequest
from zs_env.simulator.page_parsing import join_documents, split_documents
from zs_env.simulator.prompts import SimulatorPrompts
from zs_env.text.hashing import stable_hash

_Shape = tuple[bool, int]


def substitute_answers(
    pairs: Sequence[Pair], prompts: SimulatorPrompts, *, share: float
) -> list[Pair]:
    """Replace the answers of a share of the useful pairs, in both prompt and page.

    A pair is unchanged if its query or question contains the answer, or if an alias of the answer
    would remain in the page.

    Args:
        pairs: training pairs of both kinds.
        prompts: the prompts of the pairs.
        share: of the useful pairs, in [0, 1]; a hash of the prompt selects them.

    Returns:
        As many pairs, in the same order. A changed pair has only its new answer in `answers`.
    """
    candidates: dict[_Shape, list[str]] = {}
    for pair in pairs:
        for answer in _stated_answers(pair)[:1]:
            candidates.setdefault(_shape(answer), []).append(answer)
    return [
        (_substituted(pair, candidates, prompts) or pair)
        if pair.kind == "useful" and stable_hash(f"exchange\0{pair.prompt}") < share * 2**64
        else pair
        for pair in pairs
    ]


def _substituted(
    pair: Pair, candidates: dict[_Shape, list[str]], prompts: SimulatorPrompts
) -> Pair | None:
    stated = _stated_answers(pair)
    if not stated or contains_answer(f"{pair.query} {pair.question}", pair.answers):
        return None
    same_shape = candidates[_shape(stated[0])]
    new = same_shape[stable_hash(f"donor\0{pair.prompt}") % len(same_shape)]
    if contains_answer(pair.completion, [new]):
        return None
    longest_first = "|".join(re.escape(one) for one in sorted(stated, key=len, reverse=True))
    old = re.compile(rf"(?<!\w)(?:{longest_first})(?!\w)", re.IGNORECASE)
    documents = [old.sub(lambda _: new, text) for text in split_documents(pair.completion)]
    page = " ".join(documents)
    if contains_answer(page, pair.answers) or not contains_answer(page, [new]):
        return None
    request = SearchRequest(pair.query, pair.question, (new,), (True,) * len(documents), 0)
    return replace(
        pair,
        prompt=prompts.render(request, useful=True, num_documents=len(documents)),
        completion=join_documents(documents),
        answers=(new,),
    )


def _stated_answers(pair: Pair) -> list[str]:
    """Return the gold answers that a useful page contains."""
    if pair.kind != "useful":
        return []
    return [answer for answer in pair.answers if contains_answer(pair.completion, [answer])]


def _shape(answer: str) -> _Shape:
    """Return whether an answer has a digit, and its number of words; equal shapes are exchanged."""
    return any(char.isdigit() for char in answer), min(len(answer.split()), 4)
