"""The contract of search engines: a base class, wrappers, and checked calls.

An engine declares what it can do; `EngineWrapper` combines the declarations of the engines that it
wraps. Everything that calls an engine calls `search_checked`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from zs_env.search.deadline import CallLock, time_left_s
from zs_env.search.several_queries import join_pages, single_requests
from zs_env.search.types import (
    NOISE_KINDS,
    BudgetExceeded,
    NoiseKind,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)
from zs_env.search.validation import labelled, page_problem
from zs_env.text.suggestions import check_names

Answer = SearchPage | SearchError
Key = TypeVar("Key", bound=Hashable)
Adapted = TypeVar("Adapted")
# What `as_engine` takes over from an object that is not a SearchEngine.
_ADAPTED = (
    *("search", "open", "name", "supports_noise", "noise_kinds", "query_only", "in_process"),
    *("thread_safe", "can_open", "step_dependent", "timeout_s", "fingerprint"),
    *("set_training_step", "close"),
)


class SearchEngine:
    """Answers search requests. A subclass defines `search` and declares what else it can do.

    A plain object with a method `search` is an engine too. It may have any of the attributes below;
    those that it lacks have the defaults of this class, which promise nothing.

    Attributes:
        name: shown as the provenance of documents.
        supports_noise: whether the engine returns noisy documents where `SearchRequest.useful` is
            False. Requesting noise from any other engine is an error.
        noise_kinds: kinds of noise that an engine with `supports_noise` can return, see
            `SearchRequest.noise_kind`. Requesting another kind is an error.
        query_only: whether query and number of documents alone decide the page. A cache then
            shares pages between questions and seeds. Excludes `supports_noise`.
        in_process: whether the engine only computes. It is then called directly, without a thread
            and a deadline.
        thread_safe: whether several threads may call `search` at the same time. Calls of any other
            engine are serialized.
        can_open: whether the engine can return a document of its pages in full, see `open`.
        step_dependent: whether pages depend on the training step.
        timeout_s: longest time, in seconds, that a search may take by the engine's own settings;
            None if there are none. It must not exceed the deadline of the environment.
        fingerprint: identifies everything that decides the engine's pages; part of the keys of a
            cache. An engine without one cannot be cached.
    """

    name: str = ""
    supports_noise: bool = False
    noise_kinds: tuple[NoiseKind, ...] = ("irrelevant",)
    query_only: bool = False
    in_process: bool = False
    thread_safe: bool = False
    can_open: bool = False
    step_dependent: bool = False
    timeout_s: float | None = None
    fingerprint: str | None = None

    def search(self, requests: Sequence[SearchRequest]) -> Sequence[Answer]:
        """Return one page per request, in the same order.

        A SearchError in the place of a page fails that request only, and is final. If the method
        raises for several requests, they are sent again, one by one.

        `zs_env.search.deadline.time_left_s` tells how much time is left.

        Raises:
            SearchError: if the engine cannot answer the requests.
        """
        raise NotImplementedError(f"{type(self).__name__} must define search(requests)")

    def open(self, requests: Sequence[SearchRequest]) -> Sequence[Answer]:
        """Return the `document` of each request in full, as the only document of its page.

        Called only if `can_open`. The document is as it was shown: sanitized, perhaps cut. The
        other fields are those of its search. A noisy document stays noisy. Errors as in `search`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define open(requests)")

    def set_training_step(self, step: int) -> None:
        """Set the training step, counted from 0. Only step-dependent engines use it."""

    def close(self) -> None:
        """Release what the engine holds: files, connections, threads."""


class EngineWrapper(SearchEngine):
    """An engine that passes requests on to one or several other engines, with `search_checked`.

    Its attributes follow from theirs, and are combined here. A subclass may change the result.
    `thread_safe` is about the wrapper's own code only, because the calls of inner engines are
    serialized if necessary.

    Args:
        engines: engines, or any objects with a method `search`.
    """

    def __init__(self, *engines: Any) -> None:
        self.engines = tuple(map(as_engine, engines))
        self.name = type(self).name or (self.engines[0].name if self.engines else "")
        self.supports_noise = all(engine.supports_noise for engine in self.engines)
        self.noise_kinds = tuple(
            kind for kind in NOISE_KINDS if all(kind in one.noise_kinds for one in self.engines)
        )
        self.query_only = all(engine.query_only for engine in self.engines)
        self.in_process = all(engine.in_process for engine in self.engines)
        self.can_open = all(engine.can_open for engine in self.engines)
        self.step_dependent = any(engine.step_dependent for engine in self.engines)
        limits = [engine.timeout_s for engine in self.engines if engine.timeout_s is not None]
        self.timeout_s = max(limits, default=None)

    @property
    def fingerprint(self) -> str | None:  # type: ignore[override]
        """Made of the class's name and the inner engines' fingerprints; None if one has none."""
        inner = self.inner_fingerprints()
        return None if inner is None else f"{class_name(self)}:{inner}"

    def inner_fingerprints(self) -> list[str] | None:
        """Return the fingerprints of the inner engines; None if one of them has none."""
        found = [engine.fingerprint for engine in self.engines]
        return None if None in found else [one for one in found if one is not None]

    def open(self, requests: Sequence[SearchRequest]) -> Sequence[Answer]:
        """Pass the requests on as `search` does: `search_checked` tells them apart."""
        return self.search(requests)

    def set_training_step(self, step: int) -> None:
        """Set the training step of the inner engines."""
        for engine in self.engines:
            engine.set_training_step(step)

    def close(self) -> None:
        """Close the inner engines."""
        for engine in self.engines:
            engine.close()


def as_engine(engine: Any) -> SearchEngine:
    """Return `engine` if it is a SearchEngine, and otherwise a SearchEngine with its attributes.

    Raises:
        TypeError: if it has no method `search`.
        ValueError: if it declares `supports_noise` and `query_only`, or an unknown kind of noise.
    """
    if not isinstance(engine, SearchEngine):
        if not callable(getattr(engine, "search", None)):
            raise TypeError(
                "expected an engine with a method search(requests) -> list of SearchPage, got "
                f"{engine!r}"
            )
        plain, engine = engine, adapt(engine, SearchEngine(), _ADAPTED)
        # All adapters of an object share its lock.
        engine.__dict__["_call_lock"] = _PLAIN_LOCKS.setdefault(id(plain), CallLock())
        engine.__dict__["_class"] = type(plain)
    if engine.supports_noise and engine.query_only:
        raise ValueError(
            f"the engine {engine_label(engine)} declares supports_noise and query_only; a page "
            "that depends on the requested noise does not depend on the query alone"
        )
    check_names(f"noise kind of the engine {engine_label(engine)}", engine.noise_kinds, NOISE_KINDS)
    return engine


# By the identity of a plain object. Its adapters keep the object and the lock alive.
_PLAIN_LOCKS: WeakValueDictionary[int, CallLock] = WeakValueDictionary()


def adapt(plain: Any, base: Adapted, names: Iterable[str]) -> Adapted:
    """Give an instance of a base class those attributes and methods that a plain object has."""
    for name in names:
        if hasattr(plain, name):
            value = getattr(plain, name)
            # A method is looked up at each call, because it may be replaced.
            base.__dict__[name] = partial(_call_plain, plain, name) if callable(value) else value
    return base


def _call_plain(plain: Any, name: str, *arguments: Any) -> Any:
    return getattr(plain, name)(*arguments)


def engine_label(engine: SearchEngine) -> str:
    """Return the name of an engine, or of its class, for messages."""
    return repr(engine.name or engine.__dict__.get("_class", type(engine)).__name__)


def check_timeout(engine: SearchEngine, timeout_s: float | None, setting: str) -> None:
    """Raise ValueError if a search of the engine may take longer than `timeout_s` seconds.

    Args:
        engine: the engine, whose own limit is its `timeout_s`.
        timeout_s: the deadline of a call; None for no deadline.
        setting: name of the setting of the deadline, for the message.
    """
    if timeout_s is not None and engine.timeout_s is not None and engine.timeout_s > timeout_s:
        raise ValueError(
            f"the engine {engine_label(engine)} has a limit of {engine.timeout_s:g} s, more than "
            f"{setting}={timeout_s:g}; lower the engine's limit, leave it out, or raise {setting}"
        )


def search_checked(engine: SearchEngine, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Call an engine, serialize calls if it is not thread-safe, and check what it returns.

    Requests with a `document` go to `open`, the others to `search`. If the call fails as a whole,
    its requests are sent again, one by one, until the deadline of the call.

    Returns:
        For each request a valid page, or a SearchError. If the engine supports noise, each document
        has the label `useful`, and a noisy one its `noise_kind`.

    Raises:
        BudgetExceeded: if the engine raises it.
    """
    singles = single_requests(requests)
    if len(singles) > len(requests):
        return join_pages(requests, search_checked(engine, singles))
    try:
        return _search_once(engine, requests)
    except BudgetExceeded:
        raise
    except Exception as error:
        failure = as_search_error(error)
    if len(requests) == 1:
        return [failure]
    answers: list[Answer] = []
    for request in requests:
        if time_left_s() > 0.0:
            try:
                answers += _search_once(engine, [request])
                continue
            except BudgetExceeded:
                raise
            except Exception as error:
                failure = as_search_error(error)
        answers.append(failure)
    return answers


def as_search_error(error: Exception) -> SearchError:
    """Return a SearchError unchanged, and any other exception as a new one that names it."""
    return (
        error if isinstance(error, SearchError) else SearchError(f"{type(error).__name__}: {error}")
    )


def engine_turn(engine: SearchEngine) -> AbstractContextManager[None]:
    """Return a context in which no other thread calls the engine."""
    lock = engine.__dict__.get("_call_lock")
    if lock is None:
        lock = engine.__dict__.setdefault("_call_lock", CallLock())
    return lock()


def _search_once(engine: SearchEngine, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Call an engine, once for searches and once for opens; SearchError for a wrong list."""
    opens = [place for place, one in enumerate(requests) if one.document is not None]
    if 0 < len(opens) < len(requests):
        found: dict[int, Answer] = {}
        for places in (opens, sorted({*range(len(requests))} - {*opens})):
            part = _search_once(engine, [requests[place] for place in places])
            found.update(zip(places, part, strict=True))
        return [found[place] for place in range(len(requests))]
    if opens and not engine.can_open:
        raise SearchError(f"the engine {engine_label(engine)} cannot open documents")
    call: Callable[..., Any] = engine.open if opens else engine.search
    if engine.thread_safe:
        pages = call(requests)
    else:
        with engine_turn(engine):
            pages = call(requests)
    if not isinstance(pages, (list, tuple)):
        raise SearchError(f"wrong type: search() returned {type(pages).__name__}, expected a list")
    if len(pages) != len(requests):
        raise SearchError(
            f"wrong number of pages: {len(pages)} for {len(requests)} requests"
            + (f" from the engine {engine.name!r}" if engine.name else "")
        )
    answers: list[Answer] = []
    for page, request in zip(pages, requests, strict=True):
        problem = page_problem(page)
        if problem is None and request.document is not None and len(page.documents) != 1:
            problem = f"wrong number of documents: {len(page.documents)} for an open, expected 1"
        if problem is not None and not isinstance(page, SearchError):
            page = SearchError(problem)
        if engine.supports_noise and isinstance(page, SearchPage):
            page = labelled(page, request)
        answers.append(page)
    return answers


def search_distinct(
    keys: Sequence[Key], search: Callable[[list[Key]], Sequence[Answer]]
) -> list[Answer]:
    """Search once for each distinct key and return one page per key.

    Only the first page of a key carries its cost.
    """
    distinct = dict.fromkeys(keys)
    if len(distinct) == len(keys):
        return list(search(list(keys)))
    found = dict(zip(distinct, search(list(distinct)), strict=True))
    answers, charged = [], set[Hashable]()
    for key in keys:
        page = found[key]
        if key in charged and isinstance(page, SearchPage):
            page = replace(page, cost=SearchCost())
        charged.add(key)
        answers.append(page)
    return answers


def raise_single(answers: list[Answer]) -> list[Answer]:
    """Return the answers; raise instead if there is only one and it is a SearchError."""
    if len(answers) == 1 and isinstance(answers[0], SearchError):
        raise answers[0]
    return answers


def class_name(instance: object) -> str:
    """Return module and name of the class of an object."""
    return f"{type(instance).__module__}.{type(instance).__qualname__}"
