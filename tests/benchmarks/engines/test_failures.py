"""On engines that fail in 30 % of their calls, every episode ends and nothing is left behind."""

import pytest

from benchmarks.engines.failures import STACKS, play


@pytest.mark.parametrize("name", STACKS)
def test_every_episode_ends_through_every_wrapper(name):
    outcome = play(STACKS[name], 320)
    assert outcome.reasons.total() == 320
    assert set(outcome.reasons) <= {"answer", "turn_limit", "failure"}
    assert outcome.reasons["answer"] > 100
    assert outcome.unequal == 0, "equal requests got different pages"
    assert outcome.threads == 0, "a thread was left behind"
    assert outcome.requests > 0
