"""The contract of search engines, as checks of one engine.

`check_engine` runs them on an engine with requests that it can answer. It uses nothing but the
public contract, so it also checks the engines of users.
"""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from zs_env.engines import CachedEngine, MeteredEngine
from zs_env.engines.mixture import MixtureEngine
from zs_env.env import ZeroSearchEnv
from zs_env.metrics import contains_answer
from zs_env.noise import NOISE_KINDS
from zs_env.questions.hidden_answers import is_yes_no
from zs_env.questions.question import Question
from zs_env.search.engine import EngineWrapper, SearchEngine, as_engine, search_checked
from zs_env.search.postprocess import postprocess_page
from zs_env.search.types import SearchError, SearchPage, SearchRequest
from zs_env.search.validation import page_problem
from zs_env.vector_env import ZeroSearchVectorEnv

FLAGS = (
    *("supports_noise", "query_only", "in_process", "thread_safe", "can_open"),
    "step_dependent",
)


def check_engine(make: Callable[[], Any], requests: Sequence[SearchRequest]) -> None:
    """Check the contract.

    Args:
        make: makes the engine.
        requests: at least two requests with different queries, which ask for useful documents and
            which the engine can answer.

    Raises:
        AssertionError: if the engine breaks a rule, with the rule.
    """
    for rule in RULES:
        rule(as_engine(make()), list(requests))


def declares_its_attributes(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """Every attribute has a value of its type, and no two contradict each other."""
    for flag in FLAGS:
        value = getattr(engine, flag)
        assert isinstance(value, bool), f"{flag} must be True or False, got {value!r}"
    assert engine.noise_kinds and set(engine.noise_kinds) <= set(NOISE_KINDS), (
        f"noise_kinds must be some of {NOISE_KINDS}, got {engine.noise_kinds!r}"
    )
    assert isinstance(engine.name, str), f"name must be a string, got {engine.name!r}"
    assert engine.fingerprint is None or (engine.fingerprint and type(engine.fingerprint) is str), (
        f"fingerprint must be a string or None, got {engine.fingerprint!r}"
    )
    assert engine.timeout_s is None or engine.timeout_s > 0, "timeout_s must be positive or None"
    assert not (engine.supports_noise and engine.query_only), (
        "supports_noise and query_only exclude each other"
    )


def returns_one_valid_page_per_request(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """`search` itself returns a list with one valid page per request, also for no request."""
    assert list(engine.search([])) == [], "search([]) must return an empty list"
    pages = engine.search(requests)
    assert isinstance(pages, list | tuple), f"search must return a list, got {type(pages).__name__}"
    assert len(pages) == len(requests), f"{len(pages)} pages for {len(requests)} requests"
    for page in pages:
        assert page_problem(page) is None, page_problem(page)
    assert any(page.documents for page in _pages(pages)), "no request got a document"


def answers_equal_requests_equally(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """A page depends on its request, not on the batch, its order or earlier calls."""
    first = _pages(search_checked(engine, requests))
    for batch in (requests, requests[::-1], [*requests, *requests]):
        for request, page in zip(batch, _pages(search_checked(engine, batch)), strict=True):
            assert page == first[requests.index(request)], f"another page for {request.query!r}"
    for request, page in zip(requests, first, strict=True):
        assert search_checked(engine, [request]) == [page], f"alone, {request.query!r} differs"


def uses_what_it_declares(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """A query-only engine ignores question, answers, seed and quality."""
    if engine.query_only:
        other = [
            replace(one, question="Another?", answers=("x",), seed=one.seed ^ 1).flipped()
            for one in requests
        ]
        assert search_checked(engine, requests) == search_checked(engine, other), (
            "query_only: the page must not depend on anything but the query"
        )


def delivers_noise_or_refuses_it(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """Noise is delivered and labelled, or it is an error and nothing is labelled."""
    noisy = [request.flipped() for request in requests]
    question = Question(id="1", text=requests[0].question or "Who?", answers=("x",))
    if not engine.supports_noise:
        for settings in ({"noise": 0.5}, {"noise": {"start": 0.0, "end": 0.5}}):
            try:
                ZeroSearchEnv([question], engine, **settings)
            except ValueError as error:
                assert "supports noise" in str(error)
            else:
                raise AssertionError(f"{settings} must be an error without supports_noise")
        if isinstance(engine, EngineWrapper):
            return  # one of its engines may control the quality
        pages = _pages(search_checked(engine, [*requests, *noisy]))
        labels = [one.useful for page in pages for one in page.documents]
        assert set(labels) <= {None}, "without supports_noise, Document.useful must be None"
        return
    pages = _pages(search_checked(engine, noisy))
    for page, useful in zip(pages, _pages(search_checked(engine, requests)), strict=True):
        assert all(one.useful is False for one in page.documents), "noise must be labelled False"
        assert all(one.useful is True for one in useful.documents), "useful must be labelled True"
    plain = _pages(search_checked(engine, requests))
    texts = [[one.text for page in some for one in page.documents] for some in (pages, plain)]
    assert texts[0] != texts[1], "supports_noise: noisy pages must differ from useful ones"


def delivers_the_kinds_of_noise_or_refuses_them(
    engine: SearchEngine, requests: list[SearchRequest]
) -> None:
    """A kind of noise is delivered and labelled, or it is an error."""
    if not engine.supports_noise:
        return
    question = Question(id="1", text=requests[0].question or "Who?", answers=("x",))
    pages_of: dict[str, Any] = {}
    for kind in NOISE_KINDS:
        if kind not in engine.noise_kinds:
            try:
                ZeroSearchEnv([question], engine, noise=0.5, noise_kinds={kind: 1.0})
            except ValueError as error:
                assert "noise kinds" in str(error)
            else:
                raise AssertionError(f"{kind!r} must be an error, it is not in noise_kinds")
            continue
        noisy = [replace(request.flipped(), noise_kind=kind) for request in requests]
        mixed = [replace(one, useful=(True, *one.useful[1:])) for one in noisy]
        for request, page in zip(
            noisy + mixed, _pages(search_checked(engine, noisy + mixed)), strict=True
        ):
            _check_page_of_kind(request, page)
        pages_of[kind] = search_checked(engine, noisy)
        if engine.fingerprint is not None and not engine.step_dependent:
            cached = CachedEngine(engine)
            cached.search([request.flipped() for request in requests])  # another kind
            assert cached.search(noisy) == pages_of[kind], f"the cache changes {kind!r} pages"
    assert len(set(map(repr, pages_of.values()))) == len(pages_of), "kinds must have own pages"


def _check_page_of_kind(request: SearchRequest, page: SearchPage) -> None:
    count, kind = len(request.useful), request.noise_kind
    assert len(page.documents) <= len(request.expected), f"{kind}: more documents than requested"
    expected_kinds = {kind, "irrelevant", *(["misleading"] if kind == "conflicting" else [])}
    golds = () if is_yes_no(request.answers or ()) else request.answers or ()
    for document in page.documents:
        if document.useful:
            assert document.noise_kind is None, "a useful document has no kind of noise"
            assert kind == "conflicting" or sum(request.useful), f"{kind}: a useful document"
            continue
        assert document.noise_kind in expected_kinds, f"{kind}: got {document.noise_kind!r}"
        states_gold = contains_answer(f"{document.title} {document.text}", golds)
        assert kind != "misleading" or not states_gold, "a misleading document has a gold answer"
    if kind == "empty":
        assert len(page.documents) <= sum(request.useful) < count, "empty noise has no documents"


def can_be_cached_if_it_has_a_fingerprint(
    engine: SearchEngine, requests: list[SearchRequest]
) -> None:
    """A cache returns the engine's own pages, and refuses an engine without a fingerprint."""
    if engine.step_dependent:
        return
    if engine.fingerprint is None:
        try:
            CachedEngine(engine)
        except ValueError as error:
            assert "fingerprint" in str(error)
            return
        raise AssertionError("an engine without a fingerprint must not be cached")
    cached = CachedEngine(engine)
    assert cached.search(requests) == search_checked(engine, requests)
    again = _pages(cached.search(requests))
    assert all(page.cost.cached == 1 for page in again), "the second search must be cached"


def keeps_its_attributes_in_wrappers(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """A wrapper without own settings has the attributes and the pages of its engine."""
    wrappers: list[EngineWrapper] = [MeteredEngine(engine), MixtureEngine([engine])]
    for wrapper in wrappers:
        for flag in ("supports_noise", "in_process", "can_open", "step_dependent", "timeout_s"):
            assert getattr(wrapper, flag) == getattr(engine, flag), (type(wrapper).__name__, flag)
        assert set(wrapper.noise_kinds) == set(engine.noise_kinds)
        assert search_checked(wrapper, requests) == search_checked(engine, requests)
        assert (wrapper.fingerprint is None) == (engine.fingerprint is None)


def opens_its_documents_or_refuses(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """A document of a page is opened with its text, also through wrappers, or it is an error."""
    for request, page in zip(requests, _pages(search_checked(engine, requests)), strict=True):
        shown = postprocess_page(page, len(request.expected), (), 2048).documents
        opens = [replace(request, document=document) for document in shown]
        opened = search_checked(engine, [request, *opens])[1:]
        if not engine.can_open:
            assert all(isinstance(one, SearchError) for one in opened), "can_open is False"
            continue
        assert not any(isinstance(one, SearchError) for one in opened), (
            f"can_open: open() failed: {opened}"
        )
        for document, whole in zip(shown, _pages(opened), strict=True):
            (full,) = whole.documents
            assert document.text in full.text, "an opened document must have the text shown before"
            assert full.useful == document.useful, "an opened document keeps its quality"
        wrappers: list[SearchEngine] = [MeteredEngine(engine), MixtureEngine([engine])]
        if engine.fingerprint is not None and not engine.step_dependent:
            wrappers.append(CachedEngine(engine))
        for wrapper in wrappers:
            assert search_checked(wrapper, [request, *opens])[1:] == opened, type(wrapper).__name__


def is_called_safely_from_threads(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """Concurrent calls give the pages of separate calls."""
    expected = search_checked(engine, requests)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(search_checked(engine, requests)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [expected] * len(threads), "concurrent calls must not change pages"


def fails_one_request_at_a_time(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """A request without an answer does not change the pages of the others."""
    strange = SearchRequest("\ud800\x00" * 3, None, None, (True,), 0)
    *pages, _ = search_checked(engine, [*requests, strange])
    assert pages == search_checked(engine, requests), "one request changed the pages of others"


def works_in_the_environments(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """Single and vector environments show the same documents; `send` too."""
    questions = [
        Question(id=str(n), text=one.question or f"Question {n}?", answers=one.answers or ("x",))
        for n, one in enumerate(requests)
    ]
    count = len(requests[0].useful)
    env = ZeroSearchEnv(questions, engine, num_documents=count)
    vector = ZeroSearchVectorEnv(
        len(requests), questions, engine, num_documents=count, autoreset_mode="Disabled"
    )
    actions = [f"<search>{one.query}</search>" for one in requests]
    seeds = list(range(len(requests)))
    options = {"question_index": seeds}
    single = []
    for n, action in enumerate(actions):
        env.reset(seed=n, options={"question_index": n})
        single.append(env.step(action)[0]["documents"])
    vector.reset(seed=seeds, options=options)
    batched = list(zip(*vector.step(actions)[0]["documents"], strict=True))
    vector.reset(seed=seeds, options=options)
    vector.send(dict(enumerate(actions)))
    sent: dict[int, Any] = {}
    while len(sent) < len(actions):
        sent |= vector.recv(30)
    assert single == batched == [sent[n][0]["documents"] for n in seeds]
    env.close()
    vector.close()


def can_be_copied(engine: SearchEngine, requests: list[SearchRequest]) -> None:
    """Deep copies give equal pages; so do pickled copies of engines that can be pickled."""
    expected = search_checked(engine, requests)
    copies = [copy.deepcopy(engine)]
    # A class or function of a test may not be picklable.
    with suppress(pickle.PicklingError, AttributeError, TypeError):
        copies.append(pickle.loads(pickle.dumps(engine)))
    for copied in copies:
        assert search_checked(copied, requests) == expected, "a copy must return equal pages"


RULES = (
    declares_its_attributes,
    returns_one_valid_page_per_request,
    answers_equal_requests_equally,
    uses_what_it_declares,
    delivers_noise_or_refuses_it,
    delivers_the_kinds_of_noise_or_refuses_them,
    can_be_cached_if_it_has_a_fingerprint,
    keeps_its_attributes_in_wrappers,
    opens_its_documents_or_refuses,
    is_called_safely_from_threads,
    fails_one_request_at_a_time,
    works_in_the_environments,
    can_be_copied,
)


def _pages(answers: Sequence[Any]) -> list[SearchPage]:
    for answer in answers:
        assert not isinstance(answer, SearchError), f"a request failed: {answer}"
    return list(answers)
