"""Conformance tests of generators; vLLM's run if its environment was built."""

import os
import subprocess

import pytest

from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.policy.policy import load_policy
from tests.agents.llm.generators.generator_laws import LAWS
from tests.paths import ROOT
from tests.vllm_process import PYTHON, SETTINGS, needs_vllm


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_transformers_in_process(policy, law):
    law(policy, TransformersGenerator(policy, max_context=256))


@pytest.mark.slow
@needs_vllm
def test_vllm_in_process():
    done = subprocess.run(
        [str(PYTHON), "-m", "tests.agents.llm.generators.generator_laws"],
        cwd=ROOT,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    passed = [line.removesuffix(" holds") for line in done.stdout.splitlines() if "holds" in line]
    assert passed == [law.__name__ for law in LAWS], done.stderr[-3000:]
