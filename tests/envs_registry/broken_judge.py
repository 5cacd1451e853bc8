"""A reward whose judge always fails, and its name in the specification of an environment."""

from zs_env.judge import Judge
from zs_env.rewards import Reward

REWARD = "tests.envs_registry.broken_judge:broken_reward"


class BrokenModel:
    """A judge's model that cannot be reached."""

    in_process = True

    def generate(self, prompts):
        raise ConnectionError("no such model")


broken_reward = Reward((("judge", 1.0),), Judge(BrokenModel()))


def no_number(transcript):
    """A reward that is no number."""
    return float("nan")
