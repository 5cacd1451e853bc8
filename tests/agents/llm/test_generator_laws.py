"""Every generator under the same laws; vLLM's where its environment was built."""

import os
import subprocess
from pathlib import Path

import pytest

from agents.llm.policy import load_policy
from agents.llm.transformers_generator import TransformersGenerator
from tests.agents.llm.generator_laws import LAWS
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
        [str(PYTHON), "-m", "tests.agents.llm.generator_laws"],
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = [line.removesuffix(" holds") for line in done.stdout.splitlines() if "holds" in line]
    assert said == [law.__name__ for law in LAWS], done.stderr[-3000:]
