"""The learner's loss and gradient are those of TRL's GRPOTrainer, as its version 1.16 gave them.

    python -m benchmarks.trl_parity --record tests/agents/llm/learner/golden/trl.json

records them anew and compares every entry of every gradient; the file has their fingerprints.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.llm.learner.trl_cases import CASES, fingerprint, our_steps

GOLDEN = json.loads((Path(__file__).parent / "golden" / "trl.json").read_text())
TOLERANCE = 1e-5


def _gap(our, their):
    """The loss's difference, or the fingerprints' as a share of the largest if that is more."""
    ours, theirs = fingerprint(our.gradients), their["gradients"]
    assert ours.keys() == theirs.keys()
    gaps = (abs(a - b) for name in theirs for a, b in zip(ours[name], theirs[name], strict=True))
    largest = max(abs(x) for values in theirs.values() for x in values)
    return max(max(gaps) / largest, abs(our.loss - their["loss"]))


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_of_every_step_are_those_of_trl(name):
    ours = our_steps(CASES[name])
    assert len(ours) == len(GOLDEN[name]) == CASES[name].num_steps
    for our, their in zip(ours, GOLDEN[name], strict=True):
        assert _gap(our, their) <= TOLERANCE


def test_every_recorded_case_is_compared():
    assert CASES.keys() == GOLDEN.keys()


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("grpo", {"clip_low": 0.21}),
        ("grpo", {"clip_high": 0.29}),
        ("dr_grpo", {"loss_divisor": 21}),
        ("dapo", {"loss_aggregation": "sequence"}),
        ("cispo", {"clip_high": 0.06}),
        ("gspo", {"clip_high": 0.04}),
        ("two_sided_clip", {"dual_clip": 1.29}),
        ("kl", {"kl_coef": 0.301}),
        ("entropy", {"entropy_coef": 0.051}),
        ("token_truncate", {"importance_limit": 1.21}),
    ],
)
def test_a_setting_a_little_beside_gives_another_loss_or_gradient(name, setting):
    case = replace(CASES[name], ours={**CASES[name].ours, **setting})
    assert _gap(our_steps(case)[-1], GOLDEN[name][-1]) > 10 * TOLERANCE
