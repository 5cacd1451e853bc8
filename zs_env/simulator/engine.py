"""A search engine simulated by a language model.

Useful and noisy documents have different prompts, so a page with both kinds takes two texts.
A text that fails a check is generated again with another seed. The best text is kept, and its
documents list the checks that they fail.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from zs_env.search.deadline import time_left_s
from zs_env.search.engine import Answer, SearchEngine, search_distinct
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.simulator.checks import CHECKS, failed_checks
from zs_env.simulator.generators.base import (
    GenerationError,
    NoResponse,
    Output,
    Prompt,
    TextGenerator,
    as_generator,
)
from zs_env.simulator.page_parsing import split_documents
from zs_env.simulator.prompts import PROMPT_SETS, SimulatorPrompts
from zs_env.text.hashing import stable_hash
from zs_env.text.suggestions import unknown_name
from zs_env.text.thinking import has_response

DEFAULT_RETRIES = 2


class LanguageModelEngine(SearchEngine):
    """Generates pages with a language model.

    Args:
        generator: the language model: a TextGenerator, or any object with a method `generate`.
        prompts: the prompts or their name: "prompted" for any instruct model, "tuned" for a model
            tuned as a simulator.
        retries: how often a text that fails a check is generated again; 0 only reports failures.
        retry_on: names of the checks that cause a retry, from `checks.CHECKS`; None means all.

    Raises:
        ValueError: if the prompts or a check do not exist, or `retries` is negative.
    """

    name = "simulator"

    def __init__(
        self,
        generator: TextGenerator,
        prompts: SimulatorPrompts | str = "prompted",
        *,
        retries: int = DEFAULT_RETRIES,
        retry_on: Collection[str] | None = None,
    ) -> None:
        if isinstance(prompts, str):
            if prompts not in PROMPT_SETS:
                raise unknown_name("prompts", prompts, PROMPT_SETS)
            prompts = PROMPT_SETS[prompts]
        for check in retry_on or ():
            if check not in CHECKS:
                raise unknown_name("check", check, CHECKS)
        if retries < 0:
            raise ValueError(f"retries must not be negative, got {retries}")
        self.generator = as_generator(generator)
        self.prompts, self.retries = prompts, retries
        self.retry_on = frozenset(CHECKS if retry_on is None else retry_on)
        self.in_process = self.generator.in_process
        self.thread_safe = self.generator.thread_safe
        self.timeout_s = self.generator.deadline_s
        self.supports_noise = prompts.has_noise

    @property
    def fingerprint(self) -> str | None:
        """Changes with the model, its sampling, the prompts and the retries.

        None if the generator has none.
        """
        if self.generator.fingerprint is None:
            return None
        return (
            f"simulator-2:{self.generator.fingerprint}:{self.prompts.fingerprint}:{self.retries}:"
            f"{sorted(self.retry_on)}"
        )

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return one page per request; equal requests share a page.

        A request whose page could not be generated has a SearchError in its place.

        Raises:
            SearchError: if the generator does not return one text per prompt.
        """
        return search_distinct(requests, self._pages)

    def close(self) -> None:
        """Close the generator."""
        self.generator.close()

    def _pages(self, requests: list[SearchRequest]) -> list[Answer]:
        """Return the pages of distinct requests."""
        started = time.perf_counter()
        drafts = [
            [
                _Draft(request, useful, count)
                for useful, count in sorted(Counter(request.useful).items(), reverse=True)
            ]
            for request in requests
        ]
        pending = [draft for page_drafts in drafts for draft in page_drafts]
        for attempt in range(self.retries + 1):
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
            if not pending or elapsed / (attempt + 1) > left_s:
                break
        seconds = (time.perf_counter() - started) / max(len(requests), 1)
        return [
            self._page(page_drafts, request, seconds)
            for page_drafts, request in zip(drafts, requests, strict=True)
        ]

    def _generate(self, drafts: Sequence[_Draft], attempt: int) -> None:
        """Generate a text for each draft whose prompt can be rendered."""
        batch: list[Prompt] = []
        rendered: list[_Draft] = []
        for draft in drafts:
            request, useful = draft.request, draft.useful
            try:
                text = self.prompts.render(request, useful=useful, num_documents=draft.count)
            except ValueError as error:
                draft.error = SearchError(str(error))
                continue
            seed = stable_hash(f"{request.seed}\0{useful}\0{attempt}") >> 1
            batch.append(Prompt(text, self.prompts.system, seed))
            rendered.append(draft)
        if batch:
            # Streaming parses and checks texts while others are still being generated.
            self.generator.generate_stream(
                batch, lambda index, output: rendered[index].update(output, self.prompts.num_words)
            )

    def _page(self, drafts: Sequence[_Draft], request: SearchRequest, seconds: float) -> Answer:
        error = next((draft.error for draft in drafts if draft.error is not None), None)
        if error is not None:
            return error
        by_kind = {}
        for draft in drafts:
            shown = draft.documents
            if self.prompts.shuffled:
                ranks = sorted(
                    range(len(shown)), key=lambda rank: stable_hash(f"{request.seed}\0{rank}")
                )
                shown = [shown[rank] for rank in ranks]
            by_kind[draft.useful] = iter(shown)
        documents = [next(by_kind[useful], None) for useful in request.useful]
        cost = SearchCost(seconds=seconds)
        for draft in drafts:
            cost += draft.cost
        return SearchPage(tuple(one for one in documents if one is not None), cost, self.name)


@dataclass(slots=True)
class _Draft:
    """The best documents of one kind generated so far for one request."""

    request: SearchRequest
    useful: bool
    count: int
    documents: list[Document] = field(default_factory=list)
    error: SearchError | None = None
    flaws: tuple[int, int] | None = None  # missing documents and failed checks
    cost: SearchCost = field(default_factory=SearchCost)

    def update(self, output: Output, num_words: int) -> None:
        """Replace the documents by those of a new text if they fail fewer checks."""
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
        texts = split_documents(output.text, self.count)
        failed = failed_checks(
            texts, self.request, useful=self.useful, num_documents=self.count, num_words=num_words
        )
        flaws = (self.count - len(texts), sum(map(len, failed)))
        if self.flaws is None or flaws < self.flaws:
            self.flaws = flaws
            self.documents = [
                Document(text, useful=self.useful, checks=checks)
                for text, checks in zip(texts, failed, strict=True)
            ]
