"""Pages whose answer was exchanged for another question's: to be copied, for it cannot be known.

A small model that is tuned on real pages alone learns to write what it half remembers of a topic,
and gives the answer of its prompt where it would have come upon it anyway. Where prompt and page
name a wrong answer, only the prompt says which: so copying is learnt. Exchanging entities so goes
back to Longpre et al., arXiv:2109.05052.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agents.simulator_tuning.build import Pair
from zs_env.metrics import contains_answer
from zs_env.search.types import SearchRequest
from zs_env.simulator.page_parsing import join_documents, split_documents
from zs_env.simulator.prompts import SimulatorPrompts
from zs_env.text.hashing import stable_hash


def with_exchanged_answers(
    pairs: Sequence[Pair], prompts: SimulatorPrompts, *, share: float
) -> list[Pair]:
    """Give a share of the useful pairs another pair's answer, in prompt and page alike.

    A pair stays as it is where its query or question says the answer, or an alias would remain.

    Args:
        pairs: to train on, of both kinds.
        prompts: whose prompts they are.
        share: of the useful pairs, in [0, 1]; a hash of the prompt says which.

    Returns:
        As many pairs in the same order. `answers` of an exchanged one is its new answer alone.
    """
    donors: dict[tuple[bool, int], list[str]] = {}
    for pair in pairs:
        for said in _said(pair)[:1]:
            donors.setdefault(_shape(said), []).append(said)
    return [
        (_exchanged(pair, donors, prompts) or pair)
        if pair.kind == "useful" and stable_hash(f"exchange\0{pair.prompt}") < share * 2**64
        else pair
        for pair in pairs
    ]


def _exchanged(
    pair: Pair, donors: dict[tuple[bool, int], list[str]], prompts: SimulatorPrompts
) -> Pair | None:
    said = _said(pair)
    if not said or contains_answer(f"{pair.query} {pair.question}", pair.answers):
        return None
    offered = donors[_shape(said[0])]
    new = offered[stable_hash(f"donor\0{pair.prompt}") % len(offered)]
    if contains_answer(pair.completion, [new]):
        return None
    longest_first = "|".join(re.escape(one) for one in sorted(said, key=len, reverse=True))
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


def _said(pair: Pair) -> list[str]:
    """The answers that a useful page says."""
    if pair.kind != "useful":
        return []
    return [answer for answer in pair.answers if contains_answer(pair.completion, [answer])]


def _shape(answer: str) -> tuple[bool, int]:
    """Answers of one shape stand for each other: with a number or without, as many words."""
    return any(sign.isdigit() for sign in answer), min(len(answer.split()), 4)
