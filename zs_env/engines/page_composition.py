"""Composes the page of a request from ranked passages whose quality is known.

A page with noise takes the best passages of the requested quality. The documents of each quality
are in the order of their ranks, not useful before other ones, so that the rank of a document does
not reveal its quality.

Kinds of noise: an irrelevant document does not answer the question. A misleading one is a useful
passage with an answer to another question in place of every gold answer. A conflicting page has
some of these beside unchanged useful passages; with one noisy document it is misleading. In an
injected document an instruction to give a wrong answer follows the first sentence. Where this is
impossible, as for a query that finds no useful passage, the documents are irrelevant. So are those
of misleading and conflicting pages for a comparison and a yes/no question.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from zs_env.noise import NoiseKind
from zs_env.questions.hidden_answers import chooses_document, hidden_answers, wrong_answer
from zs_env.search.types import Document, SearchRequest
from zs_env.text.injections import inject
from zs_env.text.wrong_answers import WrongAnswers, last_name, mentions_answer, replace_answers

Ranked = tuple[int, Document]


@dataclass(frozen=True, slots=True)
class RankedPassages:
    """The passages for a page, each kind best first, with their ranks.

    Attributes:
        useful: passages that answer the question and that the query finds.
        noisy: passages that do not answer it.
        fillers: passages that fill a useful page; those used as noise are skipped.
        gold_titles: titles of the gold documents of the question, where they are known.
    """

    useful: Sequence[Ranked]
    noisy: Sequence[Ranked]
    fillers: Sequence[Ranked]
    gold_titles: Collection[str]


def compose_page(
    request: SearchRequest,
    passages: RankedPassages,
    answers: Sequence[str],
    wrong_answers: Callable[[], WrongAnswers],
) -> list[Document]:
    """Return the documents of a page with their labels; there may be too few.

    Args:
        request: the request; its seed determines wrong answers and has no other effect.
        passages: the passages for the page.
        answers: gold answers of the question.
        wrong_answers: returns the source of wrong answers; called only if one is needed.
    """
    flags = request.expected
    num_useful = sum(flags)
    noisy = _noisy_documents(request, passages, answers, len(flags) - num_useful, wrong_answers)
    used = {rank for rank, _ in noisy}
    fillers = [one for one in passages.fillers if one[0] not in used]
    useful = sorted([*passages.useful, *fillers][:num_useful], key=_rank)
    sources = {
        True: iter([replace(one, useful=True) for _, one in useful]),
        False: iter([document for _, document in noisy]),
    }
    documents = [next(sources[flag], None) for flag in flags]
    return [document for document in documents if document is not None]


def _noisy_documents(
    request: SearchRequest,
    passages: RankedPassages,
    answers: Sequence[str],
    count: int,
    wrong_answers: Callable[[], WrongAnswers],
) -> list[Ranked]:
    """Return at most `count` noisy documents of the requested kind, in the order of their ranks."""
    if count == 0:
        return []
    kind = request.noise_kind
    made: list[Ranked] = []
    hidden = hidden_answers(request.question, answers)
    contradicts = kind in ("misleading", "conflicting") and bool(hidden)
    if contradicts and not chooses_document(request.question, answers, passages.gold_titles):
        wrong = wrong_answer(request.question, answers, wrong_answers(), request.seed)
        if wrong is not None:
            made = _contradictions(request, passages, answers, wrong, count)
    rest = [
        (rank, replace(document, useful=False, noise_kind="irrelevant"))
        for rank, document in passages.noisy[: count - len(made)]
    ]
    made += rest if kind != "injected" else _injected(request, rest, answers, wrong_answers())
    if request.seed & 1:  # which one of a passage and its contradiction is first
        made.reverse()
    return sorted(made, key=_rank)


def _contradictions(
    request: SearchRequest,
    passages: RankedPassages,
    answers: Sequence[str],
    wrong: str,
    count: int,
) -> list[Ranked]:
    """Return useful passages with a wrong answer; for conflicting noise, true ones beside them."""
    conflicting = request.noise_kind == "conflicting" and count > 1
    kind: NoiseKind = "conflicting" if conflicting else "misleading"
    num_false = count // 2 if conflicting else count
    last = last_name(answers[0])
    if last is not None and mentions_answer(request.question or "", [last]):
        last = None
    made: list[Ranked] = []
    for rank, document in passages.useful:
        if len(made) == num_false:
            break
        parts = (document.title, document.text)
        title, text = (replace_answers(part, answers, wrong) or part for part in parts)
        if parts == (title, text) or mentions_answer(f"{title} {text}", answers):
            continue
        if last is not None:
            title, text = (replace_answers(one, [last], wrong) or one for one in (title, text))
        facts = dict(document.metadata) | {"is_gold": False, "wrong_answer": wrong}
        changed = replace(document, title=title, text=text, metadata=tuple(facts.items()))
        made.append((rank, replace(changed, useful=False, noise_kind=kind)))
    if conflicting and made:
        # The contradicted passages come first. A passage of the useful part is not repeated.
        taken = {rank for rank, _ in passages.useful[: sum(request.expected)]}
        contradicted = {rank for rank, _ in made}
        order = sorted(passages.useful, key=lambda one: one[0] not in contradicted)
        true = [one for one in order if one[0] not in taken][: count - num_false]
        made += [(rank, replace(document, useful=True)) for rank, document in true]
    return made


def _injected(
    request: SearchRequest,
    documents: Sequence[Ranked],
    answers: Sequence[str],
    wrong_answers: WrongAnswers,
) -> list[Ranked]:
    """Return the documents with an instruction to give a wrong answer, where possible."""
    wrong = wrong_answer(request.question, answers, wrong_answers, request.seed)
    if wrong is None:
        return list(documents)
    golds = hidden_answers(request.question, answers)
    injected: list[Ranked] = []
    for number, (rank, document) in enumerate(documents, request.seed >> 1):
        text = inject(document.text, wrong, number, golds)
        if text is not None:
            metadata = (*document.metadata, ("wrong_answer", wrong))
            document = replace(document, text=text, metadata=metadata, noise_kind="injected")
        injected.append((rank, document))
    return injected


def _rank(one: Ranked) -> int:
    return one[0]
