"""The client under the file name that OpenEnv expects."""

from envs_registry.openenv import ZeroSearchAction, ZeroSearchClient, ZeroSearchObservation

__all__ = ["ZeroSearchAction", "ZeroSearchClient", "ZeroSearchObservation"]
