"""Every generator under the same laws; vLLM's where its environment was built."""

import pytest

from agents.llm.policy import load_policy
from agents.llm.transformers_generator import TransformersGenerator
from tests.agents.llm.generator_laws import LAWS


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_transformers_in_process(policy, law):
    law(policy, TransformersGenerator(policy, max_context=256))
