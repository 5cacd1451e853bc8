"""The discrete view keeps to the rules of stable-baselines3, and to the environment's."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agents.sb3.choices import DiscreteSearchView
from zs_env.engines.scripted import ScriptedEngine
from zs_env.questions.question import Question
from zs_env.search.types import SearchError

QUESTION = Question(id="q", text="Who is the mayor of Tal Vey?", answers=("Bo Ray",), source="test")


def _view(engine, **settings):
    env = gymnasium.make("ZeroSearch/File-v0", questions=[QUESTION], engine=engine, **settings)
    return DiscreteSearchView(env)


def test_check_env_of_stable_baselines3_passes_without_a_warning():
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    sb3.check_env(DiscreteSearchView(gymnasium.make("ZeroSearch-v0", noise=0.5)))


# Gymnasium's check tells everybody who passes a wrapper to pass what is inside.
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize("env_id", ["ZeroSearch-v0", "ZeroSearch/NoSearch-v0"])
def test_gymnasiums_own_check_passes_too(env_id):
    check_env(DiscreteSearchView(gymnasium.make(env_id)), skip_render_check=True)


def test_a_search_brings_a_name_and_answering_it_is_rewarded():
    view = _view(ScriptedEngine({}, default=["The mayor of Tal Vey is Bo Ray."]))
    view.reset(seed=0)
    _, reward, terminated, truncated, _ = view.step(0)
    assert (reward, terminated, truncated) == (0.0, False, False)
    number = view.actions.index("<answer>Bo Ray</answer>")
    _, reward, terminated, truncated, _ = view.step(np.int64(number))
    assert (reward, terminated, truncated) == (1.0, True, False)


def test_running_out_of_turns_terminates_and_is_worth_nothing():
    view = _view(ScriptedEngine({}, default=["Nothing."]), max_turns=2)
    view.reset(seed=0)
    view.step(0)
    _, reward, terminated, truncated, info = view.step(0)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["reason"] == "turn_limit"


def test_a_fault_of_the_engine_truncates():
    class Broken:
        in_process = True

        def search(self, requests):
            raise SearchError("down")

    view = _view(Broken())
    view.reset(seed=0)
    _, _, terminated, truncated, info = view.step(0)
    assert (terminated, truncated) == (False, True)
    assert info["failure"] == "SearchError: down"


def test_the_view_wraps_only_what_it_can_read():
    with pytest.raises(TypeError, match="wraps a ZeroSearchEnv"):
        DiscreteSearchView(gymnasium.make("CartPole-v1"))


def test_a_step_before_a_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        _view(ScriptedEngine({}, default=["Nothing."])).step(0)
