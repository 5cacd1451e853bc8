"""Many environments that share one engine: one engine call a step, or one for each search.

Each sub-environment has its own generator, dealer and episode, so it plays the same episodes as a
`ZeroSearchEnv` with its seed; only those that search take part in the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.noise import Noise, NoiseDraw
from zs_env.observations import (
    action_space,
    batch_infos,
    checked_action,
    get_info,
    get_obs,
    observation_space,
)
from zs_env.prompts import PromptTemplate
from zs_env.questions.question import QuestionDataset
from zs_env.rendering import render_transcript
from zs_env.rewards import RewardFunction, answer_f1
from zs_env.sampler import EpisodeSampler
from zs_env.search.client import ENGINE_TIMEOUT_S, EngineClient
from zs_env.search.engine import SearchEngine
from zs_env.search.types import SearchCost, SearchRequest
from zs_env.transcripts.transcript import Transcript

Flags = NDArray[np.bool_]
StepResult = tuple[dict[str, Any], NDArray[np.float64], Flags, Flags, dict[str, Any]]
StepOfOne = tuple[dict[str, Any], float, bool, bool, dict[str, Any]]


class ZeroSearchVectorEnv(VectorEnv[dict[str, Any], Sequence[str], NDArray[Any]]):
    """A vector of `ZeroSearchEnv`, whose class documents spaces, rewards and information.

    Batched observations are tuples of `num_envs` texts (`documents`: a tuple of `num_documents`
    such tuples); `infos` has the form of Gymnasium's own vector environments.

    `reset(seed=s)` gives sub-environment i the seed `s + i`; a list gives each its own. Each value
    of `reset(options=...)` may be a sequence of `num_envs` values, and `"reset_mask"` (a bool
    array) resets only some. In `AutoresetMode.DISABLED` an action for an episode that is over is
    ignored: its reward is 0, flags and observation stay, and it has no info.

    `send` and `recv` play sub-environments apart, so that none waits for another's page; the names
    are EnvPool's.

    Args:
        num_envs: sub-environments, at least 1.
        questions: as for `ZeroSearchEnv`; shared.
        engine: as for `ZeroSearchEnv`; shared, and called once a step with all requests.
        autoreset_mode: when a finished episode is followed by another.
        max_turns: see `ZeroSearchEnv`, as for all that follow.
        num_documents: documents asked for per search.
        noise: each sub-environment counts its own episodes and rewards.
        noise_draw: what the chance of noise is drawn for.
        reward: maps a finished transcript to named terms.
        prompt: the environment's words.
        limits: longest texts, in characters.
        engine_timeout_s: seconds a batched call may take; when they are over, all its episodes
            are void.
        owns_engine: whether `close()` closes the engine too.
        render_mode: "ansi" or None.
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
        max_turns: int = 6,
        num_documents: int = 5,
        noise: float | Noise | Mapping[str, Any] = 0.0,
        noise_draw: NoiseDraw = "search",
        reward: RewardFunction = answer_f1,
        prompt: str | PromptTemplate = "instruct",
        limits: Limits | None = None,
        engine_timeout_s: float | None = ENGINE_TIMEOUT_S,
        owns_engine: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode of a vector is 'ansi' or None, got {render_mode!r}")
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.config = EpisodeConfig(
            max_turns=max_turns,
            num_documents=num_documents,
            noise_draw=noise_draw,
            prompt=PromptTemplate.of(prompt),
            reward=reward,
            limits=limits or Limits(),
        )
        self.single_observation_space = observation_space(self.config)
        self.single_action_space = action_space(self.config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._engine = EngineClient(engine, timeout_s=engine_timeout_s, owned=owns_engine)
        self._samplers = [EpisodeSampler(questions, self.config, noise) for _ in range(num_envs)]
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._episodes: list[Episode] = []
        self._terminated = np.zeros(num_envs, dtype=np.bool_)
        self._truncated = np.zeros(num_envs, dtype=np.bool_)
        self._sent: dict[int, Episode] = {}
        self._unreceived: list[int] = []

    @property
    def costs(self) -> SearchCost:
        """Cost of all searches of all sub-environments so far."""
        return self._engine.costs

    @property
    def num_questions(self) -> int:
        """Questions there are: `question_index` is below it."""
        return self._samplers[0].num_questions

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
        """Start another episode everywhere, or where `options["reset_mask"]` is True.

        Raises:
            ValueError: if a sequence is not of length `num_envs`, or an option is wrong.
        """
        options = dict(options or {})
        mask = self._reset_mask(options.pop("reset_mask", None))
        seeds = self._each("seed", _spread(seed, self.num_envs))
        columns = {name: self._each(name, value) for name, value in options.items()}
        if not self._episodes and not mask.all():
            raise ResetNeeded("no episodes yet; the first reset() must reset all of them")
        dealt = {
            index: self._deal(index, seeds[index], {name: columns[name][index] for name in columns})
            for index in _where(mask)
        }
        if "training_step" in columns:
            steps = [columns["training_step"][index] for index in dealt]
            if any(step is not None for step in steps):
                # There is one engine for all of them.
                self._engine.engine.set_training_step(
                    max(int(step) for step in steps if step is not None)
                )
        self._episodes = [
            dealt[index] if index in dealt else self._episodes[index]
            for index in range(self.num_envs)
        ]
        self._terminated[mask] = self._truncated[mask] = False
        for index in dealt:
            self._sent.pop(index, None)
        self._unreceived = [index for index in self._unreceived if index not in dealt]
        infos = {index: get_info(episode) for index, episode in dealt.items()}
        return self._observe(), batch_infos(infos, self.num_envs)

    def step(self, actions: Sequence[str]) -> StepResult:
        """Take one text per sub-environment.

        Raises:
            ResetNeeded: before the first `reset`.
            TypeError: if an action is not a string.
            ValueError: if their number is not `num_envs`, or actions that were sent are under way.
            BudgetExceeded: if the engine has spent its budget; the episodes that searched cannot
                be gone on with.
        """
        self._require_episodes()
        if self._sent:
            raise ValueError(f"actions of {sorted(self._sent)} are under way; call recv() first")
        if len(actions) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} actions, got {len(actions)}")
        over = self._terminated | self._truncated
        searching = self._act({i: checked_action(actions[i]) for i in _where(~over)})
        if searching:
            waiting = [self._episodes[index] for index in searching]
            self._engine.search(waiting, list(searching.values()))
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        infos: dict[int, dict[str, Any]] = {}
        for index, episode in enumerate(self._episodes):
            if not over[index]:
                rewards[index], terminated, truncated = self._settle(index, episode)
                if (terminated or truncated) and self.autoreset_mode == AutoresetMode.SAME_STEP:
                    infos[index] = {"final_obs": get_obs(episode), "final_info": get_info(episode)}
                    episode = self._episodes[index] = self._deal(index)
            elif self.autoreset_mode == AutoresetMode.NEXT_STEP:
                episode = self._episodes[index] = self._deal(index)
                self._terminated[index] = self._truncated[index] = False
            else:
                continue
            infos.setdefault(index, {}).update(get_info(episode))
        terminated, truncated = self._terminated.copy(), self._truncated.copy()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._terminated[:] = self._truncated[:] = False
        batched = batch_infos(infos, self.num_envs)
        return self._observe(), rewards, terminated, truncated, batched

    def send(self, actions: Mapping[int, str]) -> None:
        """Take a text for each of some sub-environments, and do not wait for their pages.

        An engine that only computes is called here, with all searches at once; for any other each
        search is a call of its own, at the same time as the others.

        Args:
            actions: texts by the number of the sub-environment.

        Raises:
            ResetNeeded: before the first `reset`.
            TypeError: if an action is not a string.
            ValueError: if an episode is over or its last action is under way, or episodes reset
                themselves.
            BudgetExceeded: as `step`.
        """
        self._require_episodes()
        if self.autoreset_mode != AutoresetMode.DISABLED:
            raise ValueError(
                f"send() needs autoreset_mode DISABLED, got {self.autoreset_mode}; whoever sends "
                "knows which episodes are over"
            )
        for index in actions:
            if index in self._sent or self._terminated[index] or self._truncated[index]:
                raise ValueError(
                    f"sub-environment {index} takes no action: "
                    f"{'its last is under way' if index in self._sent else 'its episode is over'}"
                )
        texts = {index: checked_action(action) for index, action in actions.items()}
        self._sent.update({index: self._episodes[index] for index in texts})
        searching = self._act(texts)
        self._unreceived += [index for index in texts if index not in searching]
        waiting = [self._episodes[index] for index in searching]
        self._engine.submit(waiting, list(searching.values()))

    def can_recv(self) -> bool:
        """Whether `recv` has something to return at once."""
        return bool(self._unreceived) or self._engine.can_poll()

    def recv(self, timeout_s: float | None = None) -> dict[int, StepOfOne]:
        """Return what `ZeroSearchEnv.step` would, by sub-environment, of sent actions.

        Args:
            timeout_s: how long to wait for the first; None waits as long as an engine may take.

        Returns:
            Nothing where no action is under way, or no page came in time.

        Raises:
            BudgetExceeded: as `step`.
        """
        ready, self._unreceived = self._unreceived, []
        ended = set(map(id, self._engine.poll(0.0 if ready else timeout_s)))
        # Episodes that were reset while their page was under way are nobody's.
        ready += [index for index, one in self._sent.items() if id(one) in ended]
        steps: dict[int, StepOfOne] = {}
        for index in ready:
            episode = self._sent.pop(index, None)
            if episode is not None:
                result = self._settle(index, episode)
                steps[index] = (get_obs(episode), *result, get_info(episode))
        return steps

    def render(self) -> tuple[str, ...] | None:
        """Return each episode as coloured text ("ansi")."""
        if self.render_mode is None:
            return None
        self._require_episodes()
        return tuple(render_transcript(episode.transcript()) for episode in self._episodes)

    def close_extras(self, **kwargs: Any) -> None:
        """Let go of the engine."""
        self._engine.close()

    def _act(self, actions: Mapping[int, str]) -> dict[int, SearchRequest]:
        """Play the actions, and return what the episodes that search wait for."""
        outcomes = {index: self._episodes[index].act(text) for index, text in actions.items()}
        return {i: asked for i, asked in outcomes.items() if isinstance(asked, SearchRequest)}

    def _settle(self, index: int, episode: Episode) -> tuple[float, bool, bool]:
        """Reward of an action, and whether it was the last."""
        reward, terminated, truncated = self._samplers[index].outcome(episode)
        self._terminated[index], self._truncated[index] = terminated, truncated
        return reward, terminated, truncated

    def _deal(
        self, index: int, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> Episode:
        rng = self._rngs[index]
        if rng is None or seed is not None:
            rng = self._rngs[index] = seeding.np_random(None if seed is None else int(seed))[0]
        if seed is not None:
            self._samplers[index].reset()
        return self._samplers[index].sample(rng, options)

    def _observe(self) -> dict[str, Any]:
        rows = [get_obs(episode) for episode in self._episodes]
        batch: dict[str, Any] = {key: tuple(row[key] for row in rows) for key in rows[0]}
        # Gymnasium batches a tuple of spaces place by place.
        batch["documents"] = tuple(zip(*batch["documents"], strict=True))
        return batch

    def _reset_mask(self, mask: Any) -> Flags:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"reset_mask is a bool array of shape ({self.num_envs},) with at least one True, "
                f"got {mask!r}"
            )
        return mask

    def _each(self, name: str, value: Any) -> Any:
        """Spread a value over the sub-environments, or check that there is one for each."""
        if not isinstance(value, list | tuple | np.ndarray):
            return [value] * self.num_envs
        if len(value) != self.num_envs:
            raise ValueError(
                f"{name} has {len(value)} values for {self.num_envs} sub-environments; "
                "pass one value for all, or one for each"
            )
        return value

    def _require_episodes(self) -> None:
        if not self._episodes:
            raise ResetNeeded("no episodes yet; call reset() first")


def _where(mask: Flags) -> list[int]:
    return np.flatnonzero(mask).tolist()


def _spread(seed: int | Sequence[int | None] | None, num_envs: int) -> Any:
    """Give each sub-environment a seed of its own, as Gymnasium's vectors do."""
    if isinstance(seed, int | np.integer):
        return [int(seed) + index for index in range(num_envs)]
    return seed
