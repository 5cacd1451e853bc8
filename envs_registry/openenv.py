"""The environment for OpenEnv 0.10: an app of its server, typed messages and a client.

Importing this module needs the extra `openenv`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

try:
    from openenv.core import EnvClient  # type: ignore[import-not-found]
    from openenv.core.client_types import StepResult  # type: ignore[import-not-found]
    from openenv.core.env_server import http_server  # type: ignore[import-not-found]
    from openenv.core.env_server.interfaces import Environment  # type: ignore[import-not-found]
    from openenv.core.env_server.types import (  # type: ignore[import-not-found]
        Action,
        EnvironmentMetadata,
        Observation,
        State,
    )
    from pydantic import Field  # type: ignore[import-not-found]
except ImportError as error:
    raise ImportError(
        "envs_registry.openenv needs OpenEnv: pip install 'zerosearch-gym[openenv]'"
    ) from error

from envs_registry.shared_environment import SharedEnvironment

ENV_NAME = "zerosearch"
MAX_SESSIONS = 256


class ZeroSearchAction(Action):
    """A text of the agent; see `zs_env.parse_action`."""

    text: str = Field(
        description="Text with <search>a query</search> or <answer>an answer</answer>."
    )


class ZeroSearchObservation(Observation):
    """The newest message of the environment.

    `done`, `reward` and `metadata` are OpenEnv's. `metadata` holds the values of `info` in
    `zs_env.ZeroSearchEnv`, except the documents. A failed episode has no reward: `reward` is None,
    `failure` is the error, and `metadata["error"]`, which OpenEnv's web interface shows, too.
    """

    message: str = Field(description="The newest message of the environment.")
    truncated: bool = Field(
        default=False, description="Whether the episode ended at its turn limit or by a failure."
    )
    failure: str | None = Field(
        default=None, description="The error that ended the episode; exclude it from training."
    )


class ZeroSearchEnvironment(Environment[ZeroSearchAction, ZeroSearchObservation, State]):
    """The episodes of one session.

    Args:
        shared: the environment; all sessions share its questions and engine.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, shared: SharedEnvironment) -> None:
        super().__init__()
        self._env = shared.make()
        self._state = State()

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, **options: Any
    ) -> ZeroSearchObservation:
        """Start an episode.

        Args:
            seed: of the random draws; None continues those of the session.
            episode_id: id of the episode in `state`; by default that of `info`.
            options: of `zs_env.ZeroSearchEnv.reset`, such as `question_index`, `training_step` and
                `group_seed`.

        Raises:
            ValueError: if an option is unknown or out of range.
        """
        observation, info = self._env.reset(seed=seed, options=options)
        self._state = State(episode_id=episode_id or str(info["episode_id"]))
        return ZeroSearchObservation(message=observation["message"], metadata=_metadata(info))

    def step(
        self, action: ZeroSearchAction, timeout_s: float | None = None, **kwargs: Any
    ) -> ZeroSearchObservation:
        """Apply an action; the deadline of a search is the environment's, not `timeout_s`.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset` and after the end of an episode.
        """
        observation, reward, terminated, truncated, info = self._env.step(action.text)
        self._state.step_count += 1
        failure = info.get("failure")
        return ZeroSearchObservation(
            message=observation["message"],
            done=terminated or truncated,
            reward=None if failure else float(reward),
            truncated=truncated,
            failure=failure,
            metadata={**_metadata(info), **({"error": failure} if failure else {})},
        )

    @property
    def state(self) -> State:
        """Id and number of steps of the episode."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Return name and description."""
        return EnvironmentMetadata(
            name=ENV_NAME,
            description="Answer a question with the help of a simulated search engine.",
        )

    def close(self) -> None:
        """Stop the searches of the session."""
        self._env.close()


class ZeroSearchClient(EnvClient[ZeroSearchAction, ZeroSearchObservation, State]):
    """A client with one session; `reset` accepts the arguments of `ZeroSearchEnvironment.reset`."""

    def _step_payload(self, action: ZeroSearchAction) -> dict[str, Any]:
        return action.model_dump()

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[ZeroSearchObservation]:
        reward, done = payload["reward"], payload["done"]
        observation = ZeroSearchObservation(**payload["observation"], reward=reward, done=done)
        return StepResult(observation, reward, done, observation.metadata)

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State(**payload)


def create_app(spec: Mapping[str, Any], *, max_sessions: int = MAX_SESSIONS) -> Any:
    """Return the FastAPI app of a server.

    Args:
        spec: `id`, and arguments of `zs_env.config.make_env` as JSON values; see
            `envs_registry.shared_environment.SharedEnvironment`.
        max_sessions: maximum number of clients at the same time.

    Raises:
        ValueError: if the spec is wrong.
    """
    return http_server.create_app(
        partial(ZeroSearchEnvironment, SharedEnvironment(spec)),
        ZeroSearchAction,
        ZeroSearchObservation,
        env_name=ENV_NAME,
        max_concurrent_envs=max_sessions,
    )


def _metadata(info: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in info.items() if name != "documents"}
