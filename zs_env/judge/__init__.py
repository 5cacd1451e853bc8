"""A language model that judges answers, as a term of the reward."""

from zs_env.judge.judge import Judge

__all__ = ["Judge"]
