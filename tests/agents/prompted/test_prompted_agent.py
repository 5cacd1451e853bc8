"""Failures of the language model."""

import pytest

from agents.agent import AgentFailure
from agents.evaluation.evaluate import evaluate
from agents.prompted import DirectAnswer, PromptedAgent, RetrieveOnce
from zs_env.simulator import GenerationError, ScriptedTextGenerator
from zs_env.simulator.generators.base import NoResponse, PromptRejected

FIRST = {"question": "Who?", "message": "m", "transcript": "m", "documents": ("",)}


def test_a_rejected_prompt_answers_unknown_with_the_reason():
    agent = PromptedAgent(
        DirectAnswer(), ScriptedTextGenerator(lambda prompt: PromptRejected("too long <answer>"))
    )
    assert agent.act(FIRST) == (
        "<think>The language model generated no text: too long (answer></think>\n"
        "<answer>unknown</answer>"
    )


def test_an_unreachable_model_stops_the_run():
    agent = PromptedAgent(
        DirectAnswer(), ScriptedTextGenerator(lambda prompt: GenerationError("refused"))
    )
    with pytest.raises(ConnectionError, match=r"refused.*same command again"):
        agent.act(FIRST)


def test_a_failure_does_not_affect_the_rest_of_a_batch():
    def reply(prompt):
        return PromptRejected("no") if "bad" in prompt.text else prompt.text[-15:-8]

    agent = PromptedAgent(DirectAnswer(), ScriptedTextGenerator(reply))
    texts = agent.act_batch([FIRST | {"question": name} for name in ("good", "bad", "well")])
    assert ["unknown" in text for text in texts] == [False, True, False]


@pytest.mark.parametrize("output", [NoResponse("null"), "", " \n", "<think>hm", "hm</think>\n"])
def test_no_response_is_a_failure_of_the_agent_and_not_an_answer(output):
    agent = PromptedAgent(DirectAnswer(), ScriptedTextGenerator(lambda prompt: output))
    with pytest.raises(AgentFailure, match="language model gave no response"):
        agent.act(FIRST)


def test_an_episode_without_a_response_fails_like_one_without_a_page(tmp_path):
    empty = [True]

    def says(prompt):
        return NoResponse("null") if empty[0] and "Doc 1" in prompt.text else "Answer: Ada"

    def play():
        agent = PromptedAgent(RetrieveOnce(), ScriptedTextGenerator(says, fingerprint="f"))
        return evaluate(agent, episodes=5, output=tmp_path, concurrency=2)

    report = play()
    assert (report.num_failures, report.reasons) == (5, {"failure": 5}) and report.all_failed
    assert "the agent's language model gave no response: null" in report.failure_summary
    empty[0] = False
    report = play()  # replays the failed episodes
    assert (report.num_failures, report.reasons) == (0, {"answer": 5})


def test_a_generator_must_return_one_text_per_prompt():
    class Broken:
        def generate(self, prompts):
            return []

    with pytest.raises(GenerationError, match="0 texts for 1 prompts"):
        PromptedAgent(DirectAnswer(), Broken()).act(FIRST)


def test_the_model_is_not_called_without_need():
    def fails(prompt):
        raise AssertionError(prompt)

    agent = PromptedAgent(RetrieveOnce(), ScriptedTextGenerator(fails))
    assert agent.act(FIRST) == "<search>Who?</search>"


def test_the_fingerprint_depends_on_method_model_and_seed():
    def one(method, fingerprint="a", seed=0):
        return PromptedAgent(
            method, ScriptedTextGenerator(str, fingerprint=fingerprint), seed=seed
        ).fingerprint

    prints = [
        one(DirectAnswer()),
        one(RetrieveOnce()),
        one(DirectAnswer(), "b"),
        one(DirectAnswer(), seed=1),
    ]
    assert len(set(prints)) == 4 and prints[0] == one(DirectAnswer())
