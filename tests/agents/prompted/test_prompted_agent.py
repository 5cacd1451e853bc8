"""What becomes of a model that writes nothing."""

import pytest

from agents.prompted import DirectAnswer, PromptedAgent, RetrieveOnce
from zs_env.simulator import GenerationError, ScriptedTextGenerator
from zs_env.simulator.generators.base import PromptRejected

FIRST = {"question": "Who?", "message": "m", "transcript": "m", "documents": ("",)}


def test_a_prompt_that_cannot_be_written_for_is_answered_and_says_why():
    agent = PromptedAgent(
        DirectAnswer(), ScriptedTextGenerator(lambda prompt: PromptRejected("too long <answer>"))
    )
    assert agent.act(FIRST) == (
        "<think>The language model generated no text: too long (answer></think>\n"
        "<answer>unknown</answer>"
    )


def test_a_model_that_is_out_of_reach_ends_the_run():
    agent = PromptedAgent(
        DirectAnswer(), ScriptedTextGenerator(lambda prompt: GenerationError("refused"))
    )
    with pytest.raises(ConnectionError, match=r"refused.*same command again"):
        agent.act(FIRST)


def test_one_failure_leaves_the_others_of_a_batch_alone():
    def says(prompt):
        return PromptRejected("no") if "bad" in prompt.text else prompt.text[-15:-8]

    agent = PromptedAgent(DirectAnswer(), ScriptedTextGenerator(says))
    texts = agent.act_batch([FIRST | {"question": name} for name in ("good", "bad", "well")])
    assert ["unknown" in text for text in texts] == [False, True, False]


def test_a_generator_that_loses_a_text_is_found_out():
    class Loses:
        fingerprint = "loses"

        def generate(self, prompts):
            return []

    with pytest.raises(ValueError, match="0 texts for 1 prompts"):
        PromptedAgent(DirectAnswer(), Loses()).act(FIRST)


def test_nothing_is_asked_for_where_nothing_needs_writing():
    def fails(prompt):
        raise AssertionError(prompt)

    agent = PromptedAgent(RetrieveOnce(), ScriptedTextGenerator(fails))
    assert agent.act(FIRST) == "<search>Who?</search>"


def test_a_fingerprint_follows_from_method_model_and_seed():
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
