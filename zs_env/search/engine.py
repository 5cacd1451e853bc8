"""The base class of search engines, and the base class of engines around other engines."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeVar

from zs_env.search.types import SearchCost, SearchError, SearchPage, SearchRequest

Answer = SearchPage | SearchError
Key = TypeVar("Key", bound=Hashable)
Adapted = TypeVar("Adapted")
# What `as_engine` takes over from an object that is not a SearchEngine.
_ADAPTED = (
    "search",
    "name",
    "in_process",
    "query_only",
    "step_dependent",
    "fingerprint",
    "set_training_step",
    "close",
)


class SearchEngine:
    """Answers search requests. A subclass defines `search`; everything else has a default.

    Attributes:
        name: shown as the provenance of documents.
        in_process: whether the engine only computes. It is then called directly, without a thread
            and a deadline.
        query_only: whether query and number of documents alone decide the page. A cache then
            shares pages between questions and seeds.
        step_dependent: whether pages depend on the training step.
    """

    name: str = ""
    in_process: bool = False
    query_only: bool = False
    step_dependent: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """Identifies everything that decides the engine's pages; part of the key of a cache.

        The default is the name of the class. A class with settings that change its pages needs
        its own fingerprint.
        """
        return class_name(self)

    def search(self, requests: Sequence[SearchRequest]) -> Sequence[Answer]:
        """Return one page per request, in the same order.

        A SearchError in the place of a page fails that request only.

        Raises:
            SearchError: if the engine cannot answer any of the requests.
        """
        raise NotImplementedError(f"{type(self).__name__} must define search(requests)")

    def set_training_step(self, step: int) -> None:
        """Set the training step, counted from 0. Only step-dependent engines use it."""

    def close(self) -> None:
        """Release what the engine holds: files, connections, threads."""


class EngineWrapper(SearchEngine):
    """An engine that passes requests on to one or several other engines.

    Its attributes follow from theirs. They are read once, here.

    Args:
        engines: engines, or any objects with a method `search`.
    """

    def __init__(self, *engines: Any) -> None:
        self.engines = tuple(map(as_engine, engines))
        self.name = type(self).name or (self.engines[0].name if self.engines else "")
        self.in_process = all(engine.in_process for engine in self.engines)
        self.query_only = all(engine.query_only for engine in self.engines)
        self.step_dependent = any(engine.step_dependent for engine in self.engines)

    @property
    def fingerprint(self) -> str:
        """The default is made of the class's name and the inner engines' fingerprints."""
        return f"{class_name(self)}:{[engine.fingerprint for engine in self.engines]}"

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
    """
    if isinstance(engine, SearchEngine):
        return engine
    if not callable(getattr(engine, "search", None)):
        raise TypeError(
            "expected an engine with a method search(requests) -> list of SearchPage, got "
            f"{engine!r}"
        )
    return adapt(engine, SearchEngine(), _ADAPTED)


def adapt(plain: Any, base: Adapted, names: Iterable[str]) -> Adapted:
    """Give an instance of a base class those attributes and methods that a plain object has."""
    base.__dict__["fingerprint"] = class_name(plain)
    for name in names:
        if hasattr(plain, name):
            value = getattr(plain, name)
            # A method is looked up at each call, because it may be replaced.
            base.__dict__[name] = partial(_call, plain, name) if callable(value) else value
    return base


def _call(plain: Any, name: str, *arguments: Any) -> Any:
    return getattr(plain, name)(*arguments)


def search_checked(engine: SearchEngine, requests: Sequence[SearchRequest]) -> list[Answer]:
    """Call an engine and check what it returns.

    Returns:
        One page per request, with a SearchError in the place of any object that is not a page.

    Raises:
        SearchError: if the engine does not return a list with one item per request.
    """
    pages: Any = engine.search(requests)
    if not isinstance(pages, (list, tuple)):
        raise SearchError(f"wrong type: search() returned {type(pages).__name__}, expected a list")
    if len(pages) != len(requests):
        raise SearchError(
            f"wrong number of pages: {len(pages)} for {len(requests)} requests"
            + (f" from the engine {engine.name!r}" if engine.name else "")
        )
    answers: list[Answer] = []
    for page in pages:
        if isinstance(page, SearchPage):
            if not (isinstance(page.cost, SearchCost) and isinstance(page.engine, str)):
                page = SearchError(
                    "wrong type: expected a page with a SearchCost and the engine's name, got "
                    f"{type(page.cost).__name__} and {type(page.engine).__name__}"
                )
        elif not isinstance(page, SearchError):
            page = SearchError(f"wrong type: {type(page).__name__} in place of a SearchPage")
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


def class_name(instance: object) -> str:
    """Return module and name of the class of an object."""
    return f"{type(instance).__module__}.{type(instance).__qualname__}"
