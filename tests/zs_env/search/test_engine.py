"""Plain objects become engines, wrappers combine attributes, and every answer is checked."""

import pytest

from zs_env.search.engine import (
    EngineWrapper,
    SearchEngine,
    as_engine,
    search_checked,
    search_distinct,
)
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest

REQUESTS = [SearchRequest(query, None, None, (True,), 0) for query in ("a", "b")]
PAGE = SearchPage((Document("text"),))


class Fixed(SearchEngine):
    def __init__(self, *pages, **attributes):
        self.pages, self.steps, self.closed = list(pages), [], False
        self.__dict__.update(attributes)

    def search(self, requests):
        return self.pages

    def set_training_step(self, step):
        self.steps.append(step)

    def close(self):
        self.closed = True


class Plain:
    name = "plain"

    def search(self, requests):
        return [PAGE] * len(requests)


def test_a_plain_object_is_adapted_once():
    engine = as_engine(Plain())
    assert isinstance(engine, SearchEngine) and as_engine(engine) is engine
    assert engine.name == "plain" and engine.fingerprint is None and engine.timeout_s is None
    assert not (engine.supports_noise or engine.query_only or engine.in_process)
    assert not (engine.thread_safe or engine.can_open or engine.step_dependent)
    assert engine.search(REQUESTS) == [PAGE, PAGE]
    engine.set_training_step(3)
    engine.close()
    with pytest.raises(TypeError, match="expected an engine with a method search"):
        as_engine("bm25")


def test_a_wrapper_combines_the_attributes_of_its_engines():
    one = Fixed(in_process=True, query_only=True, step_dependent=True, name="one")
    other = Fixed(in_process=True, fingerprint="x")
    wrapper = EngineWrapper(one, other)
    assert (wrapper.in_process, wrapper.query_only, wrapper.step_dependent) == (True, False, True)
    assert wrapper.name == "one" and wrapper.fingerprint is None
    one.fingerprint = "y"
    assert "['y', 'x']" in str(wrapper.fingerprint)
    wrapper.set_training_step(7)
    wrapper.close()
    assert one.steps == other.steps == [7] and one.closed and other.closed


def test_answers_are_checked():
    error = SearchError("down")
    assert search_checked(Fixed(PAGE, error), REQUESTS) == [PAGE, error]
    page, wrong = search_checked(Fixed(PAGE, 7), REQUESTS)
    assert page is PAGE and "int in place of a SearchPage" in str(wrong)
    # Sent again one by one, each request gets the one page.
    assert search_checked(Fixed(PAGE), REQUESTS) == [PAGE, PAGE]
    for failure in search_checked(Fixed(name="one"), REQUESTS):
        assert "0 for 1 requests from the engine 'one'" in str(failure)


def test_equal_keys_are_searched_once_and_charged_once():
    asked = []

    def search(keys):
        asked.append(keys)
        return [SearchPage((Document(key),), SearchCost(calls=1)) for key in keys]

    pages = search_distinct(["a", "b", "a"], search)
    assert asked == [["a", "b"]]
    assert [page.documents[0].text for page in pages] == ["a", "b", "a"]
    assert [page.cost.calls for page in pages] == [1, 1, 0]


def test_costs_add_up_field_by_field():
    page = SearchCost(calls=1, prompt_tokens=10, completion_tokens=5, seconds=0.5, cached=True)
    total = page + SearchCost(batches=1, searches=2, failures=1, short_pages=1, long_pages=1)
    assert total == SearchCost(
        batches=1,
        searches=2,
        calls=1,
        prompt_tokens=10,
        completion_tokens=5,
        seconds=0.5,
        cached=1,
        failures=1,
        short_pages=1,
        long_pages=1,
    )
    assert page.batches == 0, "an addend does not change"
