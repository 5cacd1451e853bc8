"""The Gymnasium environment: one question is one episode, and an action is a text.

`episode.py` has the rules of an episode, `sampler.py` the random draws, and `search/client.py` the
calls of the engine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium

from zs_env.actions import DEFAULT_TOOLS, build_tools
from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.noise import Noise, NoiseDraw, NoiseKinds, build_noise_kinds
from zs_env.observations import action_space, get_info, get_obs, observation_space
from zs_env.prompts import PromptTemplate
from zs_env.questions.question import QuestionDataset, check_questions
from zs_env.rendering import encodable, render_start, render_transcript, render_turn
from zs_env.rewards import RewardFunction, answer_f1
from zs_env.sampler import EpisodeSampler, QuestionOrder, questions_within_limits
from zs_env.search.client import ENGINE_TIMEOUT_S, EngineClient
from zs_env.search.engine import SearchEngine
from zs_env.search.types import SearchCost
from zs_env.text.numbers import as_int
from zs_env.transcripts.transcript import Transcript


class ZeroSearchEnv(gymnasium.Env[dict[str, Any], str]):
    """An environment in which an agent answers a question with the help of a search engine.

    ## Description
    The agent reads a question and acts by writing text. It can search any number of times, reads
    the documents of each search, and ends the episode with an answer. The documents of a search are
    useful or noisy; the noise probability may change during training. With the tool "open" it can
    also read a document of its last search in full, part by part.

    ## Action Space
    `UnicodeText`: any string. The first `</search>` or `</answer>` in it ends the action; see
    `zs_env.parse_action`. A text without a valid action uses up a turn, and the next message is a
    notice. With `tools=("search", "open")`, `<open>2</open>` reads document 2 of the last page, and
    `<open>2 p3</open>` its part 3; a part has at most `limits.max_document_chars` characters.

    ## Observation Space
    A `Dict` with the texts `question`, `message` (the newest message of the environment) and
    `transcript` (the whole episode), and with `documents`, a `Tuple` of `num_documents` texts
    ("" for missing documents); of `max_queries` times as many with several queries.

    ## Starting State
    The question is drawn with `np_random`, and `message` is the prompt. `reset(seed=...)` also
    restarts the noise schedule. `reset(options=...)` accepts:

    - `question_index`: the index of the question.
    - `noise_probability`: the noise probability of this episode, in [0, 1].
    - `training_step`: the step of the noise schedule, if `noise_probability` is not given, and of
      the engine's schedule, if it has one.
    - `group_seed`: a seed that replaces the episode's own. Episodes with the same question, group
      seed and noise probability get the same documents for the same queries.
    - `flipped_turn`: the index of a turn, from 0, whose search returns noisy documents instead of
      useful ones and the reverse.

    ## Rewards
    0 before the end of the episode, then the sum of the terms of `reward`; by default the token F1
    of the answer, in [0, 1]. 0 if the engine, or the judge of the reward, failed; exclude such an
    episode from training.

    ## Episode End
    Termination: the agent answered.
    Truncation: the agent took `max_turns` actions without an answer (a search in the last turn is
    not sent to the engine), or the engine or the judge failed.

    ## Information
    - `episode_id`: a 63-bit integer that is constant during an episode. It is drawn with
      `np_random`, so equal seeds give equal ids; `group_seed` does not change it.
    - `question_id`: the id of the question.
    - `noise_probability`: the noise probability of the episode.
    - `num_searches`: the number of searches that were sent to the engine.
    - `num_opens`: the number of documents that were opened, with the tool "open" only.
    - `action`: the last action, "search", "open", "answer" or a malformed kind; None after `reset`.
    - `documents`: the last documents, as `zs_env.Document` objects with their provenance.

    In the last step also:

    - `reason`: "answer", "turn_limit" or "failure".
    - `failure`: the error of the engine or the judge; None if neither failed.
    - `scores`: `f1`, `exact_match` and `cover_match` of the answer.
    - `reward_terms`: the terms of the reward.
    - `answers`: the gold answers.

    The cost of the searches is the attribute `costs`. The attribute `questions` holds the
    questions without those that `limits` skips.

    ## Arguments
    See the arguments of the constructor below.

    ## References
    Sun et al., "ZeroSearch: Incentivize the Search Capability of LLMs without Searching"
    (arXiv:2505.04588).

    ## Version History
    v0: initial version.

    Args:
        questions: a list of `Question`, or any object with `__len__` and `__getitem__`.
        engine: the search engine, see `zs_env.SearchEngine`. An engine with `in_process` is called
            without a deadline.
        max_turns: maximum number of actions in an episode.
        num_documents: number of documents requested per search.
        noise: probability in [0, 1] that a search returns noise: a number, a `NoiseSchedule`, an
            `AdaptiveNoise`, any object with a method `probability` (see `zs_env.noise.Noise`), or
            a mapping with the arguments of either class. Text is read as JSON: "0.5". Noise above 0
            needs an engine with `supports_noise`.
        noise_draw: what is drawn as useful or noisy: "search", "document" or "group".
        noise_kinds: "irrelevant", "misleading", "conflicting", "injected" or "empty"; or a mapping
            with the weights of several kinds, of which one is drawn per search. The engine must
            have the kinds in its `noise_kinds` if there is noise.
        order: "random" draws each question from all questions; "shuffled" draws without
            replacement, so that an epoch has each question once. A seed begins a new epoch. An
            episode with the option `question_index` uses up the question that it replaces.
        reward: function from a finished transcript to named terms; see `zs_env.rewards`.
        prompt: a name of `zs_env.prompts.PROMPTS`, the text of a prompt, or a `PromptTemplate`; it
            overrides the prompts of questions that have their own. By default those are used, and
            "instruct" for other questions.
        limits: maximum lengths of texts, in characters.
        max_queries: most queries of a search, each on its own line. The page then has a section for
            each, the engine is called once, and noise is drawn for each query.
        tools: "search", or "search" and "open". An open is malformed if the engine's `can_open` is
            False.
        engine_timeout_s: timeout of a call of the engine, in seconds; None for no timeout. The
            engine's own limit must not exceed it.
        owns_engine: whether `close()` also closes the engine.
        render_mode: "ansi" (`render()` returns the episode as coloured text), "human" (new text is
            printed in every step) or None.

    Raises:
        ValueError: if a setting is out of range, or does not fit the engine.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human"], "render_fps": 4}

    def __init__(
        self,
        questions: QuestionDataset,
        engine: SearchEngine,
        *,
        max_turns: int = 6,
        num_documents: int = 5,
        noise: float | str | Noise | Mapping[str, Any] = 0.0,
        noise_draw: NoiseDraw = "search",
        noise_kinds: NoiseKinds = "irrelevant",
        order: QuestionOrder = "random",
        reward: RewardFunction = answer_f1,
        prompt: str | PromptTemplate | None = None,
        limits: Limits | None = None,
        tools: Sequence[str] | str = DEFAULT_TOOLS,
        max_queries: int = 1,
        engine_timeout_s: float | None = ENGINE_TIMEOUT_S,
        owns_engine: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"got render_mode={render_mode!r}, expected 'ansi', 'human' or None")
        self.config = EpisodeConfig(
            max_turns=max_turns,
            num_documents=num_documents,
            noise_draw=noise_draw,
            noise_kinds=build_noise_kinds(noise_kinds),
            prompt=PromptTemplate.of(prompt),
            reward=reward,
            limits=limits or Limits(),
            tools=build_tools(tools),
            max_queries=max_queries,
        )
        self.render_mode = render_mode
        self.observation_space = observation_space(self.config)
        self.action_space = action_space(self.config)
        self._engine = EngineClient(
            engine,
            timeout_s=engine_timeout_s,
            owned=owns_engine,
            judge=getattr(reward, "judge", None),
        )
        check_questions(questions)
        self.questions = questions_within_limits(questions, self.config)
        self._sampler = EpisodeSampler(
            self.questions, self.config, noise, order, engine=self._engine.engine
        )
        self._episode: Episode | None = None
        self._num_printed = 0

    @property
    def costs(self) -> SearchCost:
        """Cost of all searches of this environment so far."""
        return self._engine.costs

    @property
    def num_questions(self) -> int:
        """Number of questions; the option `question_index` is below it."""
        return self._sampler.num_questions

    def transcript(self) -> Transcript:
        """Return the episode so far; ResetNeeded before the first `reset`."""
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("there is no episode yet; call reset() first")
        return self._episode.transcript()

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; see "Starting State" for the options.

        Raises:
            ValueError: if an option is unknown or out of range, noise is requested that the engine
                does not support, or the prompt is longer than `limits.max_prompt_chars`.
        """
        super().reset(seed=None if seed is None else as_int("seed", seed))
        if seed is not None:
            self._sampler.reset()
        self._episode = self._sampler.sample(self.np_random, options)
        if options and options.get("training_step") is not None:
            step = as_int("training_step", options["training_step"])
            self._engine.engine.set_training_step(step)
        if self.render_mode == "human":
            self._num_printed = 0
            self.render()
        return get_obs(self._episode), get_info(self._episode)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Apply an action.

        Raises:
            TypeError: if the action is not a string.
            ResetNeeded: before the first `reset` and after the end of an episode.
            BudgetExceeded: if the engine has spent its budget; the episode cannot be continued.
        """
        episode = self._episode
        if episode is None or episode.finished is not None:
            raise gymnasium.error.ResetNeeded("no episode is running; call reset() before step()")
        episode.act(action)
        self._engine.resolve((episode,))
        if self.render_mode == "human":
            self.render()
        reward, terminated, truncated = self._sampler.outcome(episode)
        return get_obs(episode), reward, terminated, truncated, get_info(episode)

    def render(self) -> str | None:
        """Return the episode as text ("ansi") or print its new part ("human")."""
        if self.render_mode is None:
            return None
        transcript = self.transcript()
        if self.render_mode == "ansi":
            return render_transcript(transcript)
        parts = [render_start(transcript)] if self._num_printed == 0 else []
        new_turns = transcript.turns[max(self._num_printed - 1, 0) :]
        parts += [render_turn(turn, transcript) for turn in new_turns]
        self._num_printed = 1 + len(transcript.turns)
        encoding = getattr(sys.stdout, "encoding", None)
        print(encodable("".join(parts), encoding), end="", flush=True)
        return None

    def close(self) -> None:
        """Stop the calls of the engine and close it if it is owned; may be called repeatedly."""
        self._engine.close()
