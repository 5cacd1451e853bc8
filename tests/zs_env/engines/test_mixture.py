"""The draw of a mixture depends on the request only."""

import gymnasium
import pytest

from zs_env import Question, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.config import build_engine
from zs_env.engines import CachedEngine, MeteredEngine, MixtureEngine, ScriptedEngine
from zs_env.noise import Schedule
from zs_env.search.types import SearchError, SearchRequest


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


def test_a_mixture_in_a_mixture_draws_independently():
    inner = MixtureEngine([_named("a"), _named("b")])
    for engine in (inner, CachedEngine(inner)):
        names = _names(MixtureEngine([engine, _named("c")]), _requests(4000))
        # A quarter of 4000 draws: standard deviation .0068, 5 of them .034.
        assert abs(names.count("a") / 4000 - 0.25) < 0.034
        assert abs(names.count("b") / 4000 - 0.25) < 0.034


def test_a_schedule_within_a_mixture_moves():
    schedule = Schedule(0.0, 1.0, shape="linear", total_steps=2)
    inner = MixtureEngine([_named("a"), _named("b")], schedule=schedule)
    outer = MixtureEngine([inner, _named("c")], [1, 0])
    assert outer.step_dependent
    names = []
    for step in (0, 10):
        outer.set_training_step(step)
        names.append({*_names(outer, _requests(50))})
    assert names == [{"a"}, {"b"}]


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

    failures = MixtureEngine([Short()]).search(_requests(3))
    assert len(failures) == 3
    for failure in failures:
        assert isinstance(failure, SearchError)
        assert "wrong number of pages: 0 for 1 requests" in str(failure)


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
    assert MixtureEngine([here, here]).in_process
    assert not MixtureEngine([here, there]).in_process


RISE = Schedule(0.0, 1.0, total_steps=4, shape="linear")


def test_a_schedule_leads_from_one_engine_to_the_other():
    engine = MixtureEngine([_named("simulated"), _named("real")], schedule=RISE)
    shares, pages = [], []
    for step in (0, 1, 2, 4, 9):
        engine.set_training_step(step)
        names = _names(engine, _requests(1000))
        shares.append(names.count("real") / 1000)
        pages.append(names)
    # 5 standard deviations of 1000 draws are at most 0.08.
    assert shares == pytest.approx([0.0, 0.25, 0.5, 1.0, 1.0], abs=0.08)
    assert shares[0] == 0.0 and shares[-1] == 1.0
    # A request that has moved to the second engine stays there.
    assert all(b == "real" for a, b in zip(pages[1], pages[2], strict=True) if a == "real")


def test_an_environment_tells_the_step():
    questions = [Question(id="q", text="Q?", answers=("a",))]
    engine = MixtureEngine([_named("simulated"), _named("real")], schedule=RISE)
    meter = MeteredEngine(engine)
    single = ZeroSearchEnv(questions, meter)
    several = ZeroSearchVectorEnv(2, questions, meter)

    def shown(env, action, **options):
        env.reset(seed=0, options=options)
        return str(env.step(action)[0]["documents"])

    search = "<search>q</search>"
    assert "simulated" in shown(single, search, training_step=0)
    assert "real" in shown(single, search, training_step=4)
    assert "real" in shown(single, search)  # it stays where it is
    assert "simulated" in shown(several, (search, search), training_step=0)
    assert "real" in shown(several, (search, search), training_step=[4, 4], noise_probability=0.0)


def test_a_schedule_is_refused_where_it_does_not_fit():
    two = [_named("a"), _named("b")]
    with pytest.raises(ValueError, match="from one engine to another"):
        MixtureEngine(two, [1, 1], schedule=RISE)
    with pytest.raises(ValueError, match="from one engine to another"):
        MixtureEngine([*two, _named("c")], schedule=RISE)
    with pytest.raises(ValueError, match="put caches around"):
        CachedEngine(MixtureEngine(two, schedule=RISE))
    with pytest.raises(ValueError, match="Did you mean 'start'"):
        build_engine({"kind": "mixture", "engines": [], "schedule": {"stat": 0}}, [])


def test_a_spec_has_a_schedule():
    spec = {
        "kind": "mixture",
        "engines": [{"kind": "world"}, {"kind": "bm25"}],
        "schedule": {"start": 0.0, "end": 1.0, "total_steps": 10},
    }
    env = gymnasium.make("ZeroSearch-v0", engine=spec)
    env.reset(seed=0, options={"training_step": 10})
    *_, info = env.step("<search>the author of</search>")
    assert {document.engine for document in info["documents"]} == {"bm25"}
