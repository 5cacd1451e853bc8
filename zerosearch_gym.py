"""The module in which verifiers finds the environment: `vf-eval zerosearch-gym`."""

from envs_registry.verifiers import SearchEnv, SearchHarness, SearchTaskset

__all__ = ["SearchEnv", "SearchHarness", "SearchTaskset"]
