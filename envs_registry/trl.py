"""The environment for TRL: rows of a data set, and an environment whose tools a model calls.

`SearchTools` is the `environment_factory` of `GRPOTrainer`, and `SearchOpenTools` that of an
environment with the tool "open". A policy that writes tags is trained with the `rollout_func` of
`agents.llm.trl`. All read the rows of `trl_row`. TRL need not be installed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

import numpy as np

from envs_registry.shared_environment import shared_environment
from zs_env.actions import TOOLS
from zs_env.wrappers import ToolCalls, action_text

_LOGGER = logging.getLogger(__name__)


def trl_row(
    index: int, *, noise_probability: float | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Return a question as a row of a data set for TRL, as JSON values.

    The row holds no text: the policy reads the prompt of the environment. Its message has keys
    beside `role` and `content`, because a `rollout_func` gets only the prompts of the rows.

    Args:
        index: of the question, from 0.
        noise_probability: of the episodes, in [0, 1]; None for the environment's schedule.
        seed: seed of the row's episodes in every step; None for new seeds in each step.
    """
    message: dict[str, Any] = {"role": "user", "content": "", "question_index": index}
    if noise_probability is not None:
        message["noise_probability"] = noise_probability
    if seed is not None:
        message["seed"] = seed
    return {"prompt": [message]}


def read_prompt(
    prompt: Sequence[Mapping[str, Any]], *, seed: int, step: int
) -> tuple[int, float | None, int]:
    """Return the question, the noise probability and the seed of a row's prompt.

    Args:
        prompt: of a row made by `trl_row`.
        seed: of the run, for rows without a seed.
        step: of the trainer, for rows without a seed.

    Raises:
        ValueError: if the prompt names no question.
    """
    message = prompt[-1]
    if message.get("question_index") is None:
        raise ValueError(
            f"got the prompt {prompt!r}, expected a question_index in its last message; make the "
            "rows of the data set with envs_registry.trl.trl_row"
        )
    index = int(message["question_index"])
    row_seed = message.get("seed")
    if row_seed is None:
        row_seed = np.random.SeedSequence((seed, step, index)).generate_state(1)[0]
    return index, message.get("noise_probability"), int(row_seed)


class SearchTools:
    """One episode at a time, played through the tools `search` and `answer`.

    Derive a class and set its attributes; it is the `environment_factory` of `GRPOTrainer`. The
    instances of a process share questions, engine and judge. The reward of a failed episode (its
    engine or judge failed) is None, and the error is logged. TRL leaves it out of the mean and the
    standard deviation of its group and gives it the advantage 0. If the model stops before it has
    answered, the remaining turns are empty.

    A tool call with missing or wrong arguments is an error, which TRL shows to the model. Every
    other error of a tool ends the training: `get_reward` raises it again.

    Attributes:
        environment: `id`, and arguments of `zs_env.config.make_env` as JSON values. The
            prompt is "tool_calls" by default.
        seed: for rows without a seed; their episodes differ between steps.
        share_group_seed: whether all episodes of a group get the same pages for the same queries.
        training_step: step of the noise schedule; `agents.llm.trl.TrainingStep` sets it. If it is
            None, the step is the number of episodes that the instance has played.

    Raises:
        ValueError: if the environment is wrong, its tools are not those of the class, or its reward
            needs a thought before an action, which a tool call does not have.
    """

    environment: ClassVar[Mapping[str, Any]] = {"id": "ZeroSearch-v0"}
    seed: ClassVar[int] = 0
    share_group_seed: ClassVar[bool] = False
    training_step: ClassVar[int | None] = None
    _numbers: ClassVar[Iterator[int]] = count()

    def __init__(self) -> None:
        tools = [name for name in TOOLS if hasattr(self, name)]
        spec = {"prompt": "tool_calls", **self.environment}
        self._env = shared_environment(json.dumps(spec, sort_keys=True)).make()
        if set(tools) != set(self._env.config.tools):
            raise ValueError(
                f"the environment has the tools {list(self._env.config.tools)}, but "
                f"{type(self).__name__} has the methods {tools}; derive it from SearchOpenTools if "
                'the environment has "tools": ["search", "open"], else from SearchTools'
            )
        weights = getattr(self._env.config.reward, "weights", ())
        if thoughts := [name for name, _ in weights if name.startswith("think_")]:
            raise ValueError(
                f"the reward has the terms {thoughts}, which need a thought before each action, "
                "but a tool call has no text before it; choose a reward without them"
            )
        self._calls = ToolCalls(self._env)
        self._error: Exception | None = None
        # Episodes of a group are played by different instances.
        self._number = next(self._numbers)
        self._num_episodes = 0

    def reset(self, prompt: Sequence[Mapping[str, Any]], **row: Any) -> str:
        """Start the episode of a row and return the environment's prompt.

        Raises:
            ValueError: if the prompt names no question, or its noise probability is wrong.
        """
        step = self._num_episodes if self.training_step is None else self.training_step
        self._num_episodes += 1
        self._error = None
        index, noise_probability, seed = read_prompt(prompt, seed=self.seed, step=step)
        options: dict[str, Any] = {"question_index": index, "training_step": step}
        if noise_probability is not None:
            options["noise_probability"] = noise_probability
        if self.share_group_seed:
            options["group_seed"] = seed
        own_seed = np.random.SeedSequence((seed, self._number)).generate_state(1)[0]
        self._calls.reset(seed=int(own_seed), options=options)
        return self._env.transcript().prompt

    def search(self, query: str) -> str:
        """Search for documents.

        Args:
            query: What to look for, in a few words.

        Returns:
            The documents found, or why there are none.
        """
        return self._call("search", {"query": query})

    def answer(self, text: str) -> str:
        """Give the final answer and stop.

        Args:
            text: The answer, as short as can be.

        Returns:
            An empty text if the answer was accepted.
        """
        return self._call("answer", {"text": text})

    def get_reward(self) -> float | None:
        """End the episode and return its reward; None if its engine or judge failed.

        Raises:
            Exception: the error of a tool that was not the model's, such as a spent budget.
        """
        if self._error is not None:
            raise self._error
        while not self._calls.finished:
            self._calls.act("")
        failure = self._env.transcript().failure
        if failure is None:
            return self._calls.reward
        _LOGGER.warning("an episode failed and is not trained: %s", failure)
        return None

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        # TRL lets the model continue after the end of an episode.
        if self._calls.finished:
            return "The episode is over."
        action = action_text(name, arguments)
        try:
            return self._calls.act(action)
        except Exception as error:
            # TRL shows every error to the model, and continues.
            self._error = error
            raise


class SearchOpenTools(SearchTools):
    """`SearchTools` for an environment with `"tools": ["search", "open"]`."""

    environment: ClassVar[Mapping[str, Any]] = {"id": "ZeroSearch-v0", "tools": ["search", "open"]}

    def open(self, document: int, part: int = 1) -> str:
        """Read a document of the last page in full.

        Args:
            document: The number of the document on the last page.
            part: The part of a long document, from 1.

        Returns:
            The text of the document, or why there is none.
        """
        return self._call("open", {"document": document, "part": part})
