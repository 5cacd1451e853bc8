"""A search engine simulated by a language model.

Useful and noisy documents have different prompts, so a page with both kinds takes two texts.
A grounded simulator takes one text per document, and rewrites a passage that another engine
retrieves. A text that fails a check is generated again with another seed. The best text is kept,
and its documents list the checks that they fail.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zs_env.search.deadline import time_left_s
from zs_env.search.engine import Answer, EngineWrapper, search_distinct
from zs_env.search.types import (
    NOISE_KINDS,
    NoiseKind,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)
from zs_env.simulator.checks import CHECKS
from zs_env.simulator.drafts import Draft, assemble, make_drafts
from zs_env.simulator.generators.base import NoResponse, Prompt, TextGenerator, as_generator
from zs_env.simulator.prompts import PROMPT_SETS, SimulatorPrompts
from zs_env.simulator.source_passages import find_sources
from zs_env.text.numbers import as_int
from zs_env.text.suggestions import unknown_name
from zs_env.text.wrong_answers import WrongAnswers

if TYPE_CHECKING:
    from zs_env.questions.question import QuestionDataset

DEFAULT_RETRIES = 2
_MAX_QUESTIONS = 2000


class LanguageModelEngine(EngineWrapper):
    """Generates pages with a language model.

    Args:
        generator: the language model: a TextGenerator, or any object with a method `generate`.
        prompts: the prompts or their name: "prompted" for any instruct model, "tuned" for a model
            tuned as a simulator, "grounded" for any instruct model that rewrites source passages.
        sources: the engine that retrieves the source passages; only for prompts that use them. If
            it supports noise, it decides which passages are useful and noisy. From any other
            engine, noisy documents are written from passages without a gold answer. A query that
            retrieves nothing has an empty page.
        questions: questions with wrong answers for the other kinds of noise, such as those of the
            environment; the first 2,000 are used. Without them, noise is irrelevant or empty.
        retries: how often a text that fails a check is generated again; 0 only reports failures.
        retry_on: names of the checks that cause a retry, from `checks.CHECKS`; None means all.

    Raises:
        ValueError: if the prompts or a check do not exist, `retries` is negative, or prompts that
            use source passages have no `sources`, or others have some.
    """

    name = "simulator"

    def __init__(
        self,
        generator: TextGenerator,
        prompts: SimulatorPrompts | str = "prompted",
        *,
        sources: Any = None,
        questions: QuestionDataset | None = None,
        retries: int = DEFAULT_RETRIES,
        retry_on: Collection[str] | None = None,
    ) -> None:
        if isinstance(prompts, str):
            if prompts not in PROMPT_SETS:
                raise unknown_name("prompts", prompts, PROMPT_SETS)
            prompts = PROMPT_SETS[prompts]
        if isinstance(retry_on, str):
            raise ValueError(
                f"got retry_on={retry_on!r}, expected a list of checks: [{retry_on!r}]"
            )
        for check in retry_on or ():
            if check not in CHECKS:
                raise unknown_name("check", check, CHECKS)
        retries = as_int("retries", retries)
        if retries < 0:
            raise ValueError(f"retries must not be negative, got {retries}")
        if prompts.uses_sources and sources is None:
            raise ValueError(
                f"the prompts {prompts.name!r} rewrite source passages, and `sources` is missing: "
                'the engine that retrieves them, such as {"kind": "bm25", "passages": FILE}'
            )
        if sources is not None and not prompts.uses_sources:
            raise ValueError(
                f"the prompts {prompts.name!r} do not use source passages; leave `sources` out, or "
                "use the prompts 'grounded'"
            )
        super().__init__(*([] if sources is None else [sources]))
        self.generator = as_generator(generator)
        self.prompts, self.retries = prompts, retries
        self.retry_on = frozenset(CHECKS if retry_on is None else retry_on)
        self.in_process = self.in_process and self.generator.in_process
        self.thread_safe = self.generator.thread_safe
        # The texts are generated after the sources are retrieved.
        limits = [one for one in (self.timeout_s, self.generator.deadline_s) if one is not None]
        self.timeout_s = sum(limits) if limits else None
        self.supports_noise = prompts.has_noise
        self.query_only = self.can_open = False
        self.questions = questions
        self.noise_kinds = self._possible_kinds()

    @property
    def fingerprint(self) -> str | None:
        """Changes with the model, its sampling, the prompts, retries and sources.

        The wrong answers of misleading and injected pages are not part of it, so the pages of
        training and held-out questions have one fingerprint. A stored page states the wrong answer
        that was picked when it was written.

        None if the generator or the engine of the sources has none.
        """
        inner = self.inner_fingerprints()
        if self.generator.fingerprint is None or inner is None:
            return None
        return (
            f"simulator-5:{self.generator.fingerprint}:{self.prompts.fingerprint}:{self.retries}:"
            f"{sorted(self.retry_on)}" + "".join(f":{one}" for one in inner)
        )

    @cached_property
    def _answers(self) -> list[tuple[str, ...]]:
        """The answers from which wrong ones are picked."""
        questions = () if self.questions is None else self.questions
        return [questions[number].answers for number in range(min(len(questions), _MAX_QUESTIONS))]

    @cached_property
    def _wrong_answers(self) -> WrongAnswers | None:
        return WrongAnswers(self._answers) if self._answers else None

    def _possible_kinds(self) -> tuple[NoiseKind, ...]:
        """Return the kinds of noise that the prompts, the sources and the questions allow."""
        possible = {"irrelevant", "empty"}
        if self.questions is not None:
            possible.add("injected")
            if self.prompts.misleading:
                possible |= {"misleading", "conflicting"}
        for engine in self.engines:
            if engine.supports_noise:
                possible |= {"misleading", "conflicting"}.intersection(engine.noise_kinds)
        return tuple(kind for kind in NOISE_KINDS if kind in possible)

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request; equal requests share a page.

        A request whose page could not be generated has a SearchError in its place.

        Raises:
            SearchError: if the generator does not return one text per prompt.
        """
        return search_distinct(requests, self._pages)

    def close(self) -> None:
        """Close the generator and the engine of the sources."""
        self.generator.close()
        super().close()

    def _pages(self, requests: list[SearchRequest]) -> list[Answer]:
        """Return the pages of distinct requests."""
        sources: Sequence[Answer | None] = [None] * len(requests)
        if self.engines:
            sources = find_sources(self.engines[0], requests)
        started = time.perf_counter()
        drafts = [
            []
            if isinstance(page, SearchError)
            else make_drafts(request, self.prompts, page, self._wrong_answers)
            for request, page in zip(requests, sources, strict=True)
        ]
        self._write([draft for page_drafts in drafts for draft in page_drafts], started)
        seconds = (time.perf_counter() - started) / max(len(requests), 1)
        return [
            page
            if isinstance(page, SearchError)
            else self._page(page_drafts, request, seconds, page)
            for request, page, page_drafts in zip(requests, sources, drafts, strict=True)
        ]

    def _write(self, drafts: Sequence[Draft], started: float) -> None:
        """Generate a text for each draft, and again for those that fail a check."""
        pending = list(drafts)
        for attempt in range(self.retries + 1):
            if not pending:
                break
            self._generate(pending, attempt)
            pending = [
                draft
                for draft in pending
                if (draft.error is None or isinstance(draft.error, NoResponse))
                and (
                    not draft.documents
                    or any(self.retry_on.intersection(one.checks) for one in draft.documents)
                )
            ]
            elapsed = time.perf_counter() - started
            left_s = time_left_s()
            if self.generator.deadline_s is not None:
                left_s = min(left_s, self.generator.deadline_s - elapsed)
            # A retry of average duration must end before the deadline.
            if elapsed / (attempt + 1) > left_s:
                break

    def _generate(self, drafts: Sequence[Draft], attempt: int) -> None:
        """Generate a text for each draft whose prompt can be rendered."""
        batch: list[Prompt] = []
        rendered: list[Draft] = []
        for draft in drafts:
            try:
                batch.append(draft.prompt(attempt))
            except ValueError as error:
                draft.error = SearchError(str(error))
                continue
            rendered.append(draft)
        if batch:
            # Streaming parses and checks texts while others are still being generated.
            self.generator.generate_stream(
                batch, lambda index, output: rendered[index].update(output)
            )

    def _page(
        self,
        drafts: Sequence[Draft],
        request: SearchRequest,
        seconds: float,
        sources: SearchPage | None,
    ) -> Answer:
        error = next((draft.error for draft in drafts if draft.error is not None), None)
        if error is not None:
            return error
        cost = SearchCost(seconds=seconds)
        for part in [*drafts, *([] if sources is None else [sources])]:
            cost += part.cost
        return SearchPage(assemble(drafts, request), cost, self.name)
