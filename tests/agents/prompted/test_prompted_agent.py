"""Failures of the language model."""

import pytest

from agents.prompted import DirectAnswer, PromptedAgent, RetrieveOnce
from zs_env.simulator import GenerationError, ScriptedTextGenerator
from zs_env.simulator.generators.base import PromptRejected

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
