"""A mixture draws by the request alone."""

import pytest

from zs_env.engines import MixtureEngine, ScriptedEngine
from zs_env.search import SearchError, SearchRequest


def _named(name, calls=None):
    def script(request):
        if calls is not None:
            calls.append(name)
        return [name]

    return ScriptedEngine(script, fingerprint=name)


def _requests(count):
    return [SearchRequest("q", "Q", ("x",), (True,), seed) for seed in range(count)]


def _names(engine, requests):
    return [page.documents[0].text for page in engine.search(requests)]


def test_each_request_meets_the_same_engine_in_any_batch():
    engine = MixtureEngine([_named("a"), _named("b")])
    requests = _requests(50)
    together = _names(engine, requests)
    assert {*together} == {"a", "b"}
    assert together == [_names(engine, [request])[0] for request in requests]
    assert together[::-1] == _names(engine, requests[::-1])


def test_the_shares_follow_the_weights():
    # 4000 draws at 1/4: the standard deviation of the share is 0.0068, and 5 of them 0.034.
    names = _names(MixtureEngine([_named("a"), _named("b")], [1, 3]), _requests(4000))
    assert abs(names.count("a") / 4000 - 0.25) < 0.034


def test_weight_zero_is_never_drawn():
    names = _names(MixtureEngine([_named("a"), _named("b"), _named("c")], [0, 1, 0]), _requests(99))
    assert {*names} == {"b"}


def test_each_engine_is_called_once_a_batch():
    class Counting:
        calls = 0

        def search(self, requests):
            self.calls += 1
            return _named("x").search(requests)

    engines = [Counting(), Counting()]
    MixtureEngine(engines).search(_requests(40))
    assert [engine.calls for engine in engines] == [1, 1]


def test_an_engine_that_gives_too_few_pages_is_an_error():
    class Short:
        def search(self, requests):
            return []

    with pytest.raises(SearchError, match="gave 0 pages for 3 requests"):
        MixtureEngine([Short()]).search(_requests(3))


@pytest.mark.parametrize(
    ("count", "weights"), [(0, None), (2, [1]), (2, [-1, 2]), (2, [0, 0]), (1, [float("inf")])]
)
def test_weights_that_do_not_fit_are_refused(count, weights):
    with pytest.raises(ValueError, match="weight"):
        MixtureEngine([_named("a")] * count, weights)


def test_the_fingerprint_is_made_of_engines_and_weights():
    prints = {
        MixtureEngine([_named("a"), _named("b")]).fingerprint,
        MixtureEngine([_named("b"), _named("a")]).fingerprint,
        MixtureEngine([_named("a"), _named("b")], [1, 2]).fingerprint,
    }
    assert len(prints) == 3


def test_it_is_local_only_where_all_of_it_is():
    here, there = ScriptedEngine({}), _named("a")
    assert MixtureEngine([here, here]).local
    assert not MixtureEngine([here, there]).local
