"""The module in which verifiers finds the environment: `vf-eval zerosearch-gym`."""

from importlib.util import find_spec

if find_spec("verifiers.legacy") or find_spec("verifiers.envs"):  # before 0.4
    from envs_registry.verifiers_v0 import load_environment

    __all__ = ["load_environment"]
else:
    from envs_registry.verifiers import SearchEnv, SearchHarness, SearchTaskset

    __all__ = ["SearchEnv", "SearchHarness", "SearchTaskset"]
