"""The Gymnasium environment: one question is one episode, one action is one piece of text.

It is a thin shell: the rules are in `episode.py`, the draws in `dealer.py`, the engine is called by
`engine_call.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium

from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.noise import Noise, NoiseDraw
from zs_env.observations import (
    action_space,
    checked_action,
    get_info,
    get_obs,
    observation_space,
)
from zs_env.prompts import PromptTemplate
from zs_env.questions.question import QuestionDataset
from zs_env.rendering import render_start, render_turn
from zs_env.rewards import RewardFunction, answer_f1
from zs_env.sampler import EpisodeSampler
from zs_env.search.client import ENGINE_TIMEOUT_S, EngineClient
from zs_env.search.engine import SearchEngine
from zs_env.search.types import SearchCost, SearchRequest
from zs_env.transcripts.transcript import Transcript


class ZeroSearchEnv(gymnasium.Env[dict[str, Any], str]):
    """A question to be answered with the help of a search engine, real or simulated.

    ## Description
    The agent reads a question. It may search, read the documents that come back, search again,
    and answers at last. A search returns useful or noisy documents, by chance; how likely noise is
    may rise as training goes on.

    ## Action Space
    `UnicodeText`: any text. The first `</search>` or `</answer>` in it acts, see
    `zs_env.parse_action`. A text without an action costs a turn and is answered by a notice.

    ## Observation Space
    `Dict` of Unicode text: `question`; `message`, what the environment says now; `transcript`,
    everything so far; `documents`, a tuple of `num_documents` texts, "" where there is none.

    ## Starting State
    A question drawn with `np_random`, and the prompt. `reset(options=...)` takes
    `question_index`, `group_seed` (episodes that share it share the engine's luck),
    `noise_probability`, `training_step`, which sets the noise where that is not given, and the
    engine's own schedule where it has one, and `flipped_turn`: the number of a turn, from 0, whose
    search finds noise where it would have found useful documents, or the reverse.
    `reset(seed=...)` also restarts the environment's own noise schedule, which counts episodes.

    ## Rewards
    0 until the end; then the sum of the reward's terms, by default the answer's token F1 in
    [0, 1]. An episode that a failure ended has reward 0 and is void: learn nothing from it.

    ## Episode End
    Terminated: the agent answered. Truncated: `max_turns` actions were taken without an answer (a
    search as the last one is not sent), or the engine failed.

    ## Information
    Always `episode_id`, `question_id`, `noise_probability`, `num_searches`, `action` ("search",
    "answer" or a malformed kind; None at reset) and `documents` with their provenance. `episode_id`
    is a 63-bit integer drawn with `np_random`: the same after every step of an episode, different
    for episodes of different reset seeds, and equal again if the same seed is reset again; members
    of a group that share `group_seed` have ids of their own. At the end also `reason`
    ("answer", "turn_limit", "failure"), `scores` (`f1`, `exact_match`, `cover_match`), `answers`
    (gold), `failure` (text or None) and `reward_terms`. What searches cost is in `costs`.

    ## Arguments
    Those of the constructor, below.

    ## References
    Sun et al., "ZeroSearch: Incentivize the Search Capability of LLMs without Searching"
    (arXiv:2505.04588).

    ## Version History
    v0: first version.

    Args:
        questions: a list of `Question`, or anything with `__len__` and `__getitem__`.
        engine: answers the searches. An engine with `in_process` is called directly.
        max_turns: actions allowed in an episode.
        num_documents: documents asked for per search.
        noise: chance in [0, 1] that a search is answered by noise: a number, a `NoiseSchedule`, an
            `AdaptiveNoise`, or the values of either as a mapping.
        noise_draw: "search", "document" or "group": what the chance is drawn for.
        reward: maps a finished transcript to named terms.
        prompt: the environment's words: a template or a name of `zs_env.prompts.PROMPTS`.
        limits: longest texts, in characters.
        engine_timeout_s: seconds that a call of the engine may take; None for no limit.
        owns_engine: whether `close()` closes the engine too.
        render_mode: "ansi" (`render()` returns the episode as coloured text), "human" (printed as
            it goes) or None.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human"], "render_fps": 4}

    def __init__(
        self,
        questions: QuestionDataset,
        engine: SearchEngine,
        *,
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
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is 'ansi', 'human' or None, got {render_mode!r}")
        self.config = EpisodeConfig(
            max_turns=max_turns,
            num_documents=num_documents,
            noise_draw=noise_draw,
            prompt=PromptTemplate.of(prompt),
            reward=reward,
            limits=limits or Limits(),
        )
        self.render_mode = render_mode
        self.observation_space = observation_space(self.config)
        self.action_space = action_space(self.config)
        self._sampler = EpisodeSampler(questions, self.config, noise)
        self._engine = EngineClient(engine, timeout_s=engine_timeout_s, owned=owns_engine)
        self._episode: Episode | None = None
        self._num_printed = 0

    @property
    def costs(self) -> SearchCost:
        """Cost of all searches of this environment so far."""
        return self._engine.costs

    @property
    def num_questions(self) -> int:
        """Questions there are: `question_index` is below it."""
        return self._sampler.num_questions

    def transcript(self) -> Transcript:
        """Return the episode so far.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        return self._current().transcript()

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start another episode; see the class for the options.

        Raises:
            ValueError: if an option is unknown or out of range, or the question's prompt is longer
                than its limit.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._sampler.reset()
        self._episode = self._sampler.sample(self.np_random, options)
        if options and options.get("training_step") is not None:
            self._engine.engine.set_training_step(int(options["training_step"]))
        if self.render_mode == "human":
            self._num_printed = 0
            self.render()
        return get_obs(self._episode), get_info(self._episode)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take the agent's text.

        Raises:
            TypeError: if the action is not a string.
            ResetNeeded: if there is no episode, or it is over.
            BudgetExceeded: if the engine has spent its budget; the episode cannot be gone on with.
        """
        episode = self._current()
        if episode.finished is not None:
            raise gymnasium.error.ResetNeeded("the episode is over; call reset() before step()")
        outcome = episode.act(checked_action(action))
        if isinstance(outcome, SearchRequest):
            self._engine.search((episode,), (outcome,))
        if self.render_mode == "human":
            self.render()
        reward, terminated, truncated = self._sampler.outcome(episode)
        return get_obs(episode), reward, terminated, truncated, get_info(episode)

    def render(self) -> str | None:
        """Return the episode as text ("ansi"), or print what was not printed yet ("human")."""
        if self.render_mode is None:
            return None
        transcript = self.transcript()
        done = self._num_printed if self.render_mode == "human" else 0
        parts = [] if done else [render_start(transcript)]
        turns = transcript.turns[max(done - 1, 0) :]
        parts += [render_turn(turn, transcript) for turn in turns]
        if self.render_mode == "ansi":
            return "".join(parts)
        self._num_printed = 1 + len(transcript.turns)
        print("".join(parts), end="", flush=True)
        return None

    def close(self) -> None:
        """Let go of the engine; calling it again does nothing."""
        self._engine.close()

    def _current(self) -> Episode:
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("no episode yet; call reset() first")
        return self._episode
