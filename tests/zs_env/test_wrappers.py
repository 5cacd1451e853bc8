"""Other views show the same words."""

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from zs_env import Document, Question, SearchPage, ZeroSearchEnv
from zs_env.wrappers import ChatObservation, TextObservation

QUESTIONS = [Question(id="q1", text="Who?", answers=("Ada",))]


class One:
    local = True

    def search(self, requests):
        return [SearchPage((Document(f"about {r.query}"),)) for r in requests]


def make():
    return ZeroSearchEnv(QUESTIONS, One())


@pytest.mark.parametrize("part", ["transcript", "message", "question"])
def test_text_observation_shows_one_part(part):
    env, plain = TextObservation(make(), part), make()
    for text in (None, "<search>x</search>", "<answer>Ada</answer>"):
        if text is None:
            shown, whole = env.reset(seed=0)[0], plain.reset(seed=0)[0]
        else:
            shown, whole = env.step(text)[0], plain.step(text)[0]
        assert shown == whole[part]
        assert shown in env.observation_space


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="documents"):
        TextObservation(make(), "documents")  # type: ignore[arg-type]


def test_chat_messages_take_turns_and_say_what_the_transcript_says():
    env = ChatObservation(make(), system="Be brief.")
    messages, _ = env.reset(seed=0)
    assert [message["role"] for message in messages] == ["system", "user"]
    for text in ("<search>x</search>", "hm", "<answer>Ada</answer>"):
        messages, *_ = env.step(text)
        assert messages in env.observation_space
    assert [message["role"] for message in messages][1:] == ["user", "assistant"] * 3
    said = "".join(message["content"] for message in messages[1:])
    assert said == env.unwrapped.transcript().text
    assert messages[2]["content"] == "<search>x</search>"


def test_chat_observation_wants_one_of_our_environments():
    with pytest.raises(TypeError, match="ZeroSearchEnv"):
        ChatObservation(gymnasium.make("CartPole-v1"))


@pytest.mark.parametrize("wrapper", [TextObservation, ChatObservation])
def test_wrapped_environments_still_pass_gymnasiums_checks_of_reset_and_step(wrapper):
    env = wrapper(make())
    with pytest.warns(UserWarning, match="different from the unwrapped"):
        check_env(env, skip_render_check=True)
