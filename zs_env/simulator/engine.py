"""A search engine that is a language model: it writes the page it would have found.

Useful and noisy documents are asked for in calls of their own, so a page of both kinds is at most
two texts. What is written is checked; a text that fails is written again with another seed, and the
best of them is kept and says what it fails.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from zs_env.search.engine import SearchEngine, search_distinct
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.simulator.checks import CHECKS, failed_checks
from zs_env.simulator.generators.base import Completion, GenerationError, Prompt, TextGenerator
from zs_env.simulator.page_parsing import split_documents
from zs_env.simulator.prompts import PROMPT_SETS, SimulatorPrompts
from zs_env.text.hashing import derive_seed, stable_hash
from zs_env.text.suggestions import unknown_name

DEFAULT_RETRIES = 2


@dataclass(slots=True)
class SimulatorCounts:
    """What a simulator has written so far, pages from a cache left out.

    Attributes:
        requests: different requests, those that failed included.
        texts: texts asked for, one per request and kind of document.
        retries: texts written again because a check failed.
        failures: requests that got no page.
        documents: by kind, "useful" and "noisy".
        failed: documents by kind and failed check.
    """

    requests: int = 0
    texts: int = 0
    retries: int = 0
    failures: int = 0
    documents: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def rates(self) -> dict[str, float]:
        """Share of the documents of a kind that fail a check, in [0, 1], by "kind/check"."""
        return {
            f"{kind}/{check}": count / self.documents[kind]
            for (kind, check), count in sorted(self.failed.items())
        }


class LanguageModelEngine(SearchEngine):
    """Writes pages with a language model.

    Args:
        generator: the model.
        prompts: how it is asked: a prompts or the name of one, "prompted" for any instruct model,
            "tuned" for a model that was tuned as a simulator.
        retries: how often a text that fails a check is written again; 0 only marks.
        retry_on: the checks that call for another try, out of `checks.CHECKS`; all where None.

    Raises:
        ValueError: if a prompts or a check does not exist, or `retries` is negative.
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
        self.generator, self.prompts, self.retries = generator, prompts, retries
        self.retry_on = frozenset(CHECKS if retry_on is None else retry_on)
        self.counts = SimulatorCounts()
        self.in_process = bool(getattr(generator, "local", False))
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Changes with the model, its sampling, the templates and the retries."""
        return (
            f"simulator-1:{self.generator.fingerprint}:{self.prompts.fingerprint}:{self.retries}:"
            f"{sorted(self.retry_on)}"
        )

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return one page per request, equal ones for equal requests.

        What could not be written has a SearchError in its place.

        Raises:
            SearchError: if the generator does not return one text per prompt.
        """
        return search_distinct(requests, self._pages)

    def _pages(self, requests: list[SearchRequest]) -> list[SearchPage | SearchError]:
        """Return the pages of distinct requests."""
        started = time.perf_counter()
        deadline_s = getattr(self.generator, "deadline_s", math.inf)
        drafts = {request: _drafts(request) for request in requests}
        open_drafts = [draft for of_request in drafts.values() for draft in of_request]
        for attempt in range(self.retries + 1):
            self._write(open_drafts, attempt)
            open_drafts = [draft for draft in open_drafts if self._call_again(draft)]
            spent = time.perf_counter() - started
            # Another try that takes as long must not come too late for the pages that are there.
            if not open_drafts or spent * (attempt + 2) / (attempt + 1) > deadline_s:
                break
        seconds = (time.perf_counter() - started) / max(len(drafts), 1)
        self._count(drafts)
        return [self._page(drafts[request], request, seconds) for request in requests]

    def close(self) -> None:
        """Close the generator, if it can be closed."""
        if callable(close := getattr(self.generator, "close", None)):
            close()

    def __getstate__(self) -> dict[str, object]:
        state = dict(self.__dict__)
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _write(self, drafts: Sequence[_Draft], attempt: int) -> None:
        prompts, asked = [], []
        for draft in drafts:
            try:
                prompts.append(self._prompt(draft, attempt))
            except ValueError as error:
                draft.error = SearchError(str(error))
            else:
                asked.append(draft)
        if not prompts:
            return

        def take(number: int, completion: Completion | GenerationError) -> None:
            asked[number].consider(completion, self.prompts)

        generate_stream = getattr(self.generator, "generate_stream", None)
        if generate_stream is not None:
            generate_stream(prompts, take)
            return
        written = self.generator.generate(prompts)
        if len(written) != len(prompts):
            raise SearchError(
                f"the generator gave {len(written)} texts for {len(prompts)} prompts; a generator gives "
                "one for each, or a GenerationError in its place"
            )
        for number, completion in enumerate(written):
            take(number, completion)

    def _prompt(self, draft: _Draft, attempt: int) -> Prompt:
        text = self.prompts.render(draft.request, useful=draft.useful, num_documents=draft.count)
        seed = derive_seed(f"{draft.request.seed}\0{draft.useful}\0{attempt}")
        return Prompt(text, self.prompts.system, seed)

    def _call_again(self, draft: _Draft) -> bool:
        if draft.error is not None:
            return False
        return not draft.documents or any(
            self.retry_on.intersection(document.checks) for document in draft.documents
        )

    def _page(
        self, drafts: Sequence[_Draft], request: SearchRequest, seconds: float
    ) -> SearchPage | SearchError:
        error = next((draft.error for draft in drafts if draft.error is not None), None)
        if error is not None:
            return error
        documents = {draft.useful: iter(self._in_order(draft)) for draft in drafts}
        placed = [next(documents[flag], None) for flag in request.useful]
        cost = SearchCost(
            calls=sum(draft.calls for draft in drafts),
            prompt_tokens=sum(draft.prompt_tokens for draft in drafts),
            completion_tokens=sum(draft.completion_tokens for draft in drafts),
            seconds=seconds,
        )
        return SearchPage(tuple(one for one in placed if one is not None), cost, self.name)

    def _in_order(self, draft: _Draft) -> list[Document]:
        """The documents as they are shown."""
        if not self.prompts.shuffled:
            return draft.documents
        seed = draft.request.seed
        order = sorted(
            range(len(draft.documents)), key=lambda place: stable_hash(f"{seed}\0{place}")
        )
        return [draft.documents[place] for place in order]

    def _count(self, drafts: Mapping[SearchRequest, Sequence[_Draft]]) -> None:
        with self._lock:
            counts = self.counts
            counts.requests += len(drafts)
            for of_request in drafts.values():
                counts.failures += any(draft.error is not None for draft in of_request)
                for draft in of_request:
                    kind = "useful" if draft.useful else "noisy"
                    counts.texts += 1
                    counts.retries += max(draft.attempts - 1, 0)
                    counts.documents[kind] += len(draft.documents)
                    counts.failed.update(
                        (kind, check) for one in draft.documents for check in one.checks
                    )


@dataclass(slots=True)
class _Draft:
    """The documents of one kind for one request, the best ones so far."""

    request: SearchRequest
    useful: bool
    count: int
    documents: list[Document] = field(default_factory=list)
    error: SearchError | None = None
    attempts: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def consider(self, completion: Completion | GenerationError, prompts: SimulatorPrompts) -> None:
        """Take a text in place of the one at hand if it fails less."""
        self.attempts += 1
        if isinstance(completion, GenerationError):
            # A text that fails a check is better than none.
            self.error = None if self.documents else completion
            return
        self.calls += completion.calls
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        texts = split_documents(completion.text, self.count)
        failed = failed_checks(
            texts,
            self.request,
            useful=self.useful,
            num_documents=self.count,
            num_words=prompts.num_words,
        )
        documents = [
            Document(text, useful=self.useful, checks=checks)
            for text, checks in zip(texts, failed, strict=True)
        ]
        if self.attempts == 1 or self._badness(documents) < self._badness(self.documents):
            self.documents = documents

    def _badness(self, documents: list[Document]) -> tuple[int, int]:
        return self.count - len(documents), sum(len(one.checks) for one in documents)


def _drafts(request: SearchRequest) -> list[_Draft]:
    kinds = Counter(request.useful)
    return [_Draft(request, useful, count) for useful, count in sorted(kinds.items(), reverse=True)]
