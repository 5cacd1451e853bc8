"""What an agent was trained with holds in its evaluations, unless a flag says otherwise."""

from typing import ClassVar

import gymnasium
import pytest

from agents.evaluation.settings import EpisodeSettings, adopt_settings


class Trained:
    name = "runs/a"
    env_settings: ClassVar[dict] = {
        "prompt": "bare",
        "max_turns": 4,
        "num_documents": 3,
        "limits": {"max_document_chars": 300, "max_action_chars": 99},
    }

    def act(self, observation):
        return ""


def test_settings_of_the_training_complete_those_that_were_asked_for() -> None:
    flags = EpisodeSettings(num_documents=2, max_document_chars=50).env_kwargs()
    kwargs, note = adopt_settings(Trained(), flags, env_id="ZeroSearch-v0")
    assert kwargs == {
        "prompt": "bare",
        "max_turns": 4,
        "num_documents": 2,
        "limits": {"max_document_chars": 50, "max_action_chars": 99},
    }
    assert note is not None and note.startswith("runs/a was trained with")
    assert "prompt 'bare', max_turns 4, max_action_chars 99" in note and "documents" not in note
    assert flags == {"num_documents": 2, "limits": {"max_document_chars": 50}}


def test_nothing_is_adopted_where_all_is_given_or_nothing_is_known() -> None:
    assert adopt_settings(Trained(), Trained.env_settings) == (Trained.env_settings, None)
    assert adopt_settings(object(), {"max_turns": 2}) == ({"max_turns": 2}, None)


def test_an_agent_with_a_prompt_alone() -> None:
    class Prompted:
        prompt = "bare"

    assert adopt_settings(Prompted(), {})[0] == {"prompt": "bare"}


def test_an_environment_gets_only_arguments_that_it_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make(prompt="", max_turns=1):
        raise AssertionError

    monkeypatch.setitem(
        gymnasium.registry, "Mine-v0", gymnasium.envs.registration.EnvSpec("Mine-v0", make)
    )
    assert adopt_settings(Trained(), {}, env_id="Mine-v0")[0] == {"prompt": "bare", "max_turns": 4}
