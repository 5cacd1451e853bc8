"""The texts of a simulated page: what is requested of each, and the best one so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zs_env.metrics import contains_answer
from zs_env.questions.hidden_answers import hidden_answers, is_yes_no, wrong_answer
from zs_env.search.types import (
    Document,
    NoiseKind,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)
from zs_env.simulator.checks import failed_checks
from zs_env.simulator.generators.base import GenerationError, NoResponse, Output, Prompt
from zs_env.simulator.page_parsing import single_document, split_documents
from zs_env.simulator.prompts import SimulatorPrompts
from zs_env.simulator.snippets import snippet
from zs_env.simulator.source_passages import passage_text
from zs_env.simulator.support import support_rate
from zs_env.text.hashing import stable_hash
from zs_env.text.injections import inject
from zs_env.text.thinking import has_response
from zs_env.text.wrong_answers import WrongAnswers

# A text that fails one of these checks is worse than one that fails any of the others.
_SEVERE = frozenset({"leak", "no_answer", "no_wrong_answer", "unsupported"})
_SOURCE_WORDS = 60  # of a passage in a prompt: a small model drops the facts of a longer one


@dataclass(slots=True, kw_only=True)
class Draft:
    """One generated text: documents of one kind for one request.

    Attributes:
        request: the search request.
        prompts: templates and the length of documents.
        places: position on the page of each requested document.
        label: kind of noise of the documents; None for useful ones.
        wrong_answer: stated by the documents, or named in injected instructions; None for others.
        source: the passage from which the only document is written.
        documents: the best documents so far.
        error: why there are no documents.
        cost: of all texts.
    """

    request: SearchRequest
    prompts: SimulatorPrompts
    places: tuple[int, ...]
    label: NoiseKind | None = None
    wrong_answer: str | None = None
    source: Document | None = None
    documents: list[Document] = field(default_factory=list)
    error: SearchError | None = None
    cost: SearchCost = field(default_factory=SearchCost)
    _flaws: tuple[int, ...] | None = None  # of `documents`, the worst first

    def prompt(self, attempt: int) -> Prompt:
        """Return the prompt of an attempt, counted from 0; each has its own seed.

        Raises:
            ValueError: if the prompt cannot be rendered.
        """
        request, source, useful = self.request, "", self.label is None
        # Before there were kinds of noise, seeds were made of the first three.
        parts = [str(request.seed), str(useful), str(attempt)]
        if self.label not in (None, "irrelevant"):
            parts.append(self.label)
        if self.source is not None:
            golds = request.answers or ()
            # "yes" or "no" in a source is not the answer, and a prompt must not reveal it.
            golds = golds if useful and not is_yes_no(golds) else ()
            answers = (self._stated,) if self._stated else golds
            source = snippet(
                self.source.title,
                self.source.text,
                query=request.query,
                num_words=_SOURCE_WORDS,
                answers=answers,
            )
            # The model must not be asked for an answer that its source does not have. A passage
            # with a wrong answer is rewritten like one with the right answer.
            stated = tuple(one for one in answers if contains_answer(source, [one]))
            request, useful = replace(request, answers=stated), bool(stated) or useful
            parts.append(str(self.places[0]))
        text = self.prompts.render(
            request,
            useful=useful,
            num_documents=len(self.places),
            wrong_answer=self._stated if self.source is None else None,
            source=source,
        )
        return Prompt(text, self.prompts.system, stable_hash("\0".join(parts)) >> 1)

    @property
    def _stated(self) -> str | None:
        """The wrong answer that the documents must contain; None if there is none."""
        return self.wrong_answer if self.label in ("misleading", "conflicting") else None

    def update(self, output: Output) -> None:
        """Replace the documents by those of a new text if they are better.

        Any documents are better than none. Then the number of different severe checks that they
        fail counts, then the number of missing documents, then that of all failed checks.
        """
        if isinstance(output, GenerationError):
            # A text that fails a check is better than no text.
            self.error = None if self.documents else output
            return
        self.error = None
        self.cost += SearchCost(
            calls=output.calls,
            prompt_tokens=output.prompt_tokens,
            completion_tokens=output.completion_tokens,
        )
        if not has_response(output.text) and not self.documents:
            self.error = NoResponse("the model wrote no page, at most thinking")
            return
        count = len(self.places)
        if self.source is None:
            texts = split_documents(output.text, count)
        else:
            texts = [one for one in [single_document(output.text)] if one]
        failed = failed_checks(
            texts,
            self.request,
            useful=self.label is None,
            num_documents=count,
            num_words=self.prompts.num_words,
            wrong_answer=self._stated,
            source=None if self.source is None else passage_text(self.source),
        )
        found = {check for checks in failed for check in checks}
        flaws = (
            int(not texts),
            len(found & _SEVERE),
            count - len(texts),
            sum(map(len, failed)),
        )
        if self._flaws is None or flaws < self._flaws:
            self._flaws = flaws
            self.documents = [
                self._document(number, text, checks)
                for number, (text, checks) in enumerate(zip(texts, failed, strict=True))
            ]

    def _document(self, number: int, text: str, checks: tuple[str, ...]) -> Document:
        """Return a document with its labels; an injected one with its instruction."""
        label, metadata = self.label, self._provenance(text)
        if "no_wrong_answer" in checks:
            label = "irrelevant"
        if label == "injected" and self.wrong_answer is not None:
            golds = hidden_answers(self.request.question, self.request.answers)
            number += (self.request.seed >> 1) + self.places[0]
            injected = inject(text, self.wrong_answer, number, golds)
            text, label = (text, "irrelevant") if injected is None else (injected, label)
        if label not in (None, "irrelevant"):
            metadata = (*metadata, ("wrong_answer", self.wrong_answer))
        return Document(
            text, useful=label is None, checks=checks, metadata=metadata, noise_kind=label
        )

    def _provenance(self, text: str) -> tuple[tuple[str, object], ...]:
        """Return the support rate of a document and what identifies its source."""
        if self.source is None:
            return ()
        rate = support_rate(text, [passage_text(self.source)])
        known = dict(self.source.metadata)
        return (
            ("support", None if rate is None else round(rate, 4)),
            ("source_id", known.get("passage_id")),
            ("source_title", self.source.title),
        )


def make_drafts(
    request: SearchRequest,
    prompts: SimulatorPrompts,
    sources: SearchPage | None,
    wrong_answers: WrongAnswers | None,
) -> list[Draft]:
    """Return the texts that a page needs: one per kind of document, or one per source passage.

    Noisy documents are irrelevant if no wrong answer is known for the requested kind of noise.
    Misleading and conflicting pages have none for comparisons and yes/no questions.

    Args:
        request: the search request.
        prompts: the prompts.
        sources: a page of source passages; None for prompts without them.
        wrong_answers: picks the wrong answer of the page; None if there is none.
    """
    kind, wrong = request.noise_kind, None
    hidden = hidden_answers(request.question, request.answers)
    needs_wrong = kind == "injected" or (kind in ("misleading", "conflicting") and bool(hidden))
    if wrong_answers is not None and needs_wrong:
        wrong = wrong_answer(request.question, request.answers, wrong_answers, request.seed)
    if wrong is None:
        kind = "irrelevant"
    if sources is not None:
        return [
            _draft_of_source(place, source, request, prompts, wrong)
            for place, source in enumerate(sources.documents)
        ]
    useful = [place for place, flag in enumerate(request.expected) if flag]
    noisy = [place for place, flag in enumerate(request.expected) if not flag]
    if kind == "conflicting" and len(noisy) == 1:
        kind = "misleading"
    elif kind == "conflicting":
        noisy.sort(key=lambda place: stable_hash(f"{request.seed}\0true\0{place}"))
        half = len(noisy) // 2
        useful, noisy = sorted(useful + noisy[half:]), sorted(noisy[:half])
    places: list[tuple[NoiseKind | None, list[int]]] = [(None, useful), (kind, noisy)]
    return [
        Draft(
            request=request,
            prompts=prompts,
            places=tuple(part),
            label=label,
            wrong_answer=None if label is None else wrong,
        )
        for label, part in places
        if part
    ]


def _draft_of_source(
    place: int,
    source: Document,
    request: SearchRequest,
    prompts: SimulatorPrompts,
    wrong: str | None,
) -> Draft:
    label = None if source.useful else source.noise_kind or "irrelevant"
    if label == "irrelevant" and request.noise_kind == "injected" and wrong is not None:
        label = "injected"
    elif label is not None:
        stated = dict(source.metadata).get("wrong_answer")
        wrong = stated if isinstance(stated, str) else None
    return Draft(
        request=request,
        prompts=prompts,
        places=(place,),
        label=label,
        wrong_answer=None if label is None else wrong,
        source=source,
    )


def assemble(drafts: Sequence[Draft], request: SearchRequest) -> tuple[Document, ...]:
    """Return the documents of a page in the order of their places; missing ones are left out.

    If no useful document contains a gold answer, all of them list the check "no_answer": sources
    without an answer are no reason to generate a text again.
    """
    placed: dict[int, Document] = {}
    for draft in drafts:
        shown = draft.documents
        if draft.prompts.shuffled:
            ranks = sorted(
                range(len(shown)), key=lambda rank: stable_hash(f"{request.seed}\0{rank}")
            )
            shown = [shown[rank] for rank in ranks]
        placed.update(zip(draft.places, shown, strict=False))
    answers = request.answers or ()
    useful = [place for place, document in placed.items() if document.useful]
    known = bool(answers) and not is_yes_no(answers)
    if known and not any(contains_answer(placed[place].text, answers) for place in useful):
        for place in useful:
            checks = dict.fromkeys((*placed[place].checks, "no_answer"))
            placed[place] = replace(placed[place], checks=tuple(checks))
    return tuple(placed[place] for place in sorted(placed))
