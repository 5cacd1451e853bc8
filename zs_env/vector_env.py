"""The vector environment: episodes side by side that share one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from zs_env.env import ZeroSearchEnv
from zs_env.episode import Episode
from zs_env.noise import Noise
from zs_env.observations import batch_infos, get_info, get_obs
from zs_env.questions.question import QuestionDataset
from zs_env.rendering import render_transcript
from zs_env.sampler import EpisodeSampler
from zs_env.search.engine import SearchEngine
from zs_env.search.types import SearchCost
from zs_env.text.numbers import as_int
from zs_env.transcripts.transcript import Transcript

Flags = NDArray[np.bool_]
StepResult = tuple[dict[str, Any], NDArray[np.float64], Flags, Flags, dict[str, Any]]
SingleStepResult = tuple[dict[str, Any], float, bool, bool, dict[str, Any]]


class ZeroSearchVectorEnv(VectorEnv[dict[str, Any], Sequence[str], NDArray[Any]]):
    """A vector environment of `ZeroSearchEnv`, which documents spaces, rewards and infos.

    All sub-environments share one engine: `step` makes one call with all searches, and one call of
    the reward's judge with all answers. Sub-environment i plays the same episodes as a
    `ZeroSearchEnv` with its seed.

    Batched observations are tuples of `num_envs` texts; `documents` is a tuple of `num_documents`
    such tuples. Infos have the format of Gymnasium's vector environments.

    `reset(seed=s)` seeds sub-environment i with `s + i`; a sequence has one seed per
    sub-environment. Each value of `reset(options=...)` may be a sequence of `num_envs` values. The
    option `reset_mask`, a boolean array, selects the sub-environments that are reset. In
    `AutoresetMode.DISABLED` the action for a finished episode is ignored: the reward is 0, the
    flags and the observation do not change, and there is no info.

    `send` and `recv` are an asynchronous form of `step`, with the names of EnvPool.

    Args:
        num_envs: number of sub-environments, at least 1.
        questions, engine: see `ZeroSearchEnv`; both are also attributes.
        autoreset_mode: when a finished episode is followed by the next one.
        noise: see `ZeroSearchEnv`; each sub-environment counts its own episodes and rewards.
        render_mode: "ansi" or None.
        settings: other arguments of `ZeroSearchEnv`; `engine_timeout_s` is that of one step.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium declares it so)
        "render_modes": ["ansi"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        questions: QuestionDataset,
        engine: SearchEngine,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        noise: float | str | Noise | Mapping[str, Any] = 0.0,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        num_envs = as_int("num_envs", num_envs, low=1)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"got render_mode={render_mode!r}, expected 'ansi' or None")
        self.num_envs = num_envs
        modes = [mode.value for mode in AutoresetMode]
        if autoreset_mode not in (*AutoresetMode, *modes):
            raise ValueError(f"got autoreset_mode={autoreset_mode!r}, expected one of {modes}")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        # A single environment checks the settings and builds what all sub-environments share.
        single = ZeroSearchEnv(questions, engine, noise=noise, **settings)
        self.config = single.config
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._engine, self.engine = single._engine, single._engine.engine
        self.questions = single.questions
        shared: Any = (self.questions, self.config, noise, single._sampler.order)
        self._samplers = [EpisodeSampler(*shared, engine=self.engine) for _ in range(num_envs)]
        self._rngs: list[tuple[np.random.Generator, int] | None] = [None] * num_envs
        self._episodes: list[Episode] = []
        self._terminated = np.zeros(num_envs, dtype=np.bool_)
        self._truncated = np.zeros(num_envs, dtype=np.bool_)
        self._sent: dict[int, Episode] = {}  # by sub-environment: its action was not received yet
        self._unreceived: list[int] = []  # sub-environments in _sent that wait for no call

    @property
    def costs(self) -> SearchCost:
        """Cost of all searches of all sub-environments so far."""
        return self._engine.costs

    @property
    def num_questions(self) -> int:
        """Number of questions; the option `question_index` is below it."""
        return self._samplers[0].num_questions

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random generator of each sub-environment, as in Gymnasium's `SyncVectorEnv`."""
        return tuple(self._rng(index)[0] for index in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each sub-environment, as in Gymnasium's `SyncVectorEnv`."""
        return tuple(self._rng(index)[1] for index in range(self.num_envs))

    def transcript(self, index: int) -> Transcript:
        """Return the episode of a sub-environment so far."""
        self._require_episodes()
        return self._episodes[index].transcript()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode in all sub-environments, or in those of `options["reset_mask"]`.

        Raises:
            ValueError: if the length of a sequence is not `num_envs`, or an option is wrong.
            ResetNeeded: if the first reset has a `reset_mask` that is not True everywhere.
        """
        options = dict(options or {})
        mask = self._reset_mask(options.pop("reset_mask", None))
        if seed is not None and np.ndim(seed) == 0:  # type: ignore[arg-type]
            seed = [as_int("seed", seed) + index for index in range(self.num_envs)]
        seeds = self._broadcast("seed", seed)
        columns = {name: self._broadcast(name, value) for name, value in options.items()}
        if not self._episodes and not mask.all():
            raise ResetNeeded("the first reset() must reset all sub-environments")
        new = {
            index: self._sample(
                index, seeds[index], {name: column[index] for name, column in columns.items()}
            )
            for index in _where(mask)
        }
        steps = [columns["training_step"][i] for i in new] if "training_step" in columns else []
        if any(step is not None for step in steps):
            # All sub-environments share the engine.
            step = max(as_int("training_step", step) for step in steps if step is not None)
            self._engine.engine.set_training_step(step)
        self._episodes = [
            new[index] if index in new else self._episodes[index] for index in range(self.num_envs)
        ]
        self._terminated[mask] = self._truncated[mask] = False
        for index in new:
            self._sent.pop(index, None)
        self._unreceived = [index for index in self._unreceived if index not in new]
        infos = {index: get_info(episode) for index, episode in new.items()}
        return self._observations(), batch_infos(infos, self.num_envs)

    def step(self, actions: Sequence[str]) -> StepResult:
        """Apply one action per sub-environment.

        Raises:
            ResetNeeded: before the first `reset`.
            TypeError: if an action is not a string.
            ValueError: if the number of actions is not `num_envs`, or an action that was sent is
                not received yet.
            BudgetExceeded: if the engine has spent its budget; the episodes that searched cannot
                be continued.
        """
        self._require_episodes()
        if self._sent:
            raise ValueError(
                f"the actions of sub-environments {sorted(self._sent)} are pending; "
                "call recv() first"
            )
        if len(actions) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} actions, got {len(actions)}")
        over = self._terminated | self._truncated
        acting = self._act({index: actions[index] for index in _where(~over)})
        self._engine.resolve(acting.values())
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        infos: dict[int, dict[str, Any]] = {}
        for index, episode in enumerate(self._episodes):
            if not over[index]:
                rewards[index], terminated, truncated = self._outcome(index, episode)
                if (terminated or truncated) and self.autoreset_mode == AutoresetMode.SAME_STEP:
                    infos[index] = {"final_obs": get_obs(episode), "final_info": get_info(episode)}
                    episode = self._episodes[index] = self._sample(index)
            elif self.autoreset_mode == AutoresetMode.NEXT_STEP:
                episode = self._episodes[index] = self._sample(index)
                self._terminated[index] = self._truncated[index] = False
            else:
                continue
            infos.setdefault(index, {}).update(get_info(episode))
        terminated, truncated = self._terminated.copy(), self._truncated.copy()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._terminated[:] = self._truncated[:] = False
        batched = batch_infos(infos, self.num_envs)
        return self._observations(), rewards, terminated, truncated, batched

    def send(self, actions: Mapping[int, str]) -> None:
        """Apply actions of some sub-environments without waiting for the engine.

        An engine that is thread-safe and does not only compute gets each search in a separate,
        concurrent call. Any other engine is called once with all searches. So is a judge.

        Args:
            actions: actions by sub-environment index.

        Raises:
            ResetNeeded: before the first `reset`.
            TypeError: if an action is not a string.
            ValueError: if an episode is over, its last action is not received yet, or
                `autoreset_mode` is not DISABLED.
            BudgetExceeded: as in `step`.
        """
        self._require_episodes()
        if self.autoreset_mode != AutoresetMode.DISABLED:
            raise ValueError(f"send() needs autoreset_mode DISABLED, got {self.autoreset_mode}")
        for index in actions:
            if index in self._sent:
                raise ValueError(f"sub-environment {index} has a pending action; call recv() first")
            if self._terminated[index] or self._truncated[index]:
                raise ValueError(f"the episode of sub-environment {index} is over; reset it first")
        acting = self._act(actions)
        self._sent.update(acting)
        self._unreceived += [index for index, one in acting.items() if not one.is_waiting]
        self._engine.submit(acting.values())

    def can_recv(self) -> bool:
        """Whether `recv` would return at least one result without waiting."""
        return bool(self._unreceived) or self._engine.can_poll()

    def recv(self, timeout_s: float | None = None) -> dict[int, SingleStepResult]:
        """Wait for at least one sent action and return the results that are ready.

        Args:
            timeout_s: maximum time to wait, in seconds; None waits until `engine_timeout_s`.

        Returns:
            Results as of `ZeroSearchEnv.step`, by sub-environment index; empty if no action is
            pending or none was ready in time.

        Raises:
            BudgetExceeded: as in `step`.
        """
        ended = set(map(id, self._engine.poll(0.0 if self._unreceived else timeout_s)))
        ready, self._unreceived = self._unreceived, []
        # An episode that was reset while its search was pending is no longer in `_sent`.
        ready += [index for index, one in self._sent.items() if id(one) in ended]
        steps: dict[int, SingleStepResult] = {}
        for index in ready:
            episode = self._sent.pop(index, None)
            if episode is not None:
                result = self._outcome(index, episode)
                steps[index] = (get_obs(episode), *result, get_info(episode))
        return steps

    def render(self) -> tuple[str, ...] | None:
        """Return the episodes as coloured texts ("ansi")."""
        if self.render_mode is None:
            return None
        self._require_episodes()
        return tuple(render_transcript(episode.transcript()) for episode in self._episodes)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the calls of the engine and close it if it is owned."""
        if hasattr(self, "_engine"):  # older versions of Gymnasium close what was not constructed
            self._engine.close()

    def _act(self, actions: Mapping[int, str]) -> dict[int, Episode]:
        """Apply actions and return their episodes."""
        for index, action in actions.items():
            if not isinstance(action, str):
                raise TypeError(
                    f"action {index} is a {type(action).__name__}, expected a string; pass the text"
                )
        acting = {index: self._episodes[index] for index in actions}
        for index, text in actions.items():
            acting[index].act(text)
        return acting

    def _outcome(self, index: int, episode: Episode) -> tuple[float, bool, bool]:
        """Return reward, terminated and truncated of a step and store the flags."""
        reward, terminated, truncated = self._samplers[index].outcome(episode)
        self._terminated[index], self._truncated[index] = terminated, truncated
        return reward, terminated, truncated

    def _sample(
        self, index: int, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> Episode:
        if seed is not None:
            self._rngs[index] = seeding.np_random(as_int("seed", seed))
            self._samplers[index].reset()
        return self._samplers[index].sample(self._rng(index)[0], options)

    def _rng(self, index: int) -> tuple[np.random.Generator, int]:
        """Return the generator of a sub-environment and its seed, which is drawn if not given."""
        known = self._rngs[index]
        if known is None:
            known = self._rngs[index] = seeding.np_random()
        return known

    def _observations(self) -> dict[str, Any]:
        rows = [get_obs(episode) for episode in self._episodes]
        batch: dict[str, Any] = {key: tuple(row[key] for row in rows) for key in rows[0]}
        # Gymnasium batches each element of a Tuple space separately.
        batch["documents"] = tuple(zip(*batch["documents"], strict=True))
        return batch

    def _reset_mask(self, mask: Any) -> Flags:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"got reset_mask={mask!r}, expected a bool array of shape ({self.num_envs},) with "
                "at least one True"
            )
        return mask

    def _broadcast(self, name: str, value: Any) -> Any:
        """Repeat a value for all sub-environments; check the length of a sequence."""
        if not isinstance(value, list | tuple | np.ndarray):
            return [value] * self.num_envs
        if len(value) != self.num_envs:
            raise ValueError(
                f"got {len(value)} values of {name} for {self.num_envs} sub-environments, "
                "expected one value, or one per sub-environment"
            )
        return value

    def _require_episodes(self) -> None:
        if not self._episodes:
            raise ResetNeeded("there are no episodes yet; call reset() first")


def _where(mask: Flags) -> list[int]:
    return np.flatnonzero(mask).tolist()
