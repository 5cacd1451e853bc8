"""The scripted episodes, and how the plain Gymnasium environment plays them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import gymnasium

from envs_registry.shared_environment import SharedEnvironment
from zs_env.actions import DEFAULT_TOOLS, Answer, Open, Search, Tool, parse_action
from zs_env.questions.question import Question
from zs_env.wrappers import action_text

ENVIRONMENT: dict[str, Any] = {
    "id": "ZeroSearch-v0",
    "max_turns": 4,
    "num_documents": 3,
    "noise_draw": "document",
}
# No server listens on this port.
BROKEN_ENGINE = {"kind": "http", "url": "http://127.0.0.1:9/retrieve", "max_tries": 1}
EPISODES_PER_KIND = 5
_NOISE = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What an agent does in one episode.

    Attributes:
        kind: name of the sequence of actions.
        question_index: question of the episode.
        noise_probability: noise probability of the episode.
        seed: seed of the episode, or of its group.
        texts: the agent's texts; those after the end of the episode are not used.
        environment: `id`, and arguments of the environment as JSON values.
    """

    kind: str
    question_index: int
    noise_probability: float
    seed: int
    texts: tuple[str, ...]
    environment: Mapping[str, Any] = field(hash=False)

    @property
    def options(self) -> dict[str, Any]:
        """The reset options of the question and the noise."""
        return {
            "question_index": self.question_index,
            "noise_probability": self.noise_probability,
        }

    @property
    def spec(self) -> str:
        """The environment as JSON text."""
        return json.dumps(self.environment, sort_keys=True)

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools of the environment."""
        return self.environment.get("tools", DEFAULT_TOOLS)

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Tool and arguments of each text with a valid action."""
        calls: list[tuple[str, dict[str, Any]]] = []
        for text in self.texts:
            action = parse_action(text, tools=self.tools)
            if isinstance(action, Search):
                calls.append(("search", {"query": action.query}))
            elif isinstance(action, Open):
                calls.append(("open", {"document": action.document, "part": action.part}))
            elif isinstance(action, Answer):
                calls.append(("answer", {"text": action.text}))
        return calls

    def with_tools(self, prompt: str) -> Script:
        """Return the episode of an agent with tools, which writes nothing but its calls."""
        texts = tuple(action_text(name, arguments) for name, arguments in self.calls)
        return replace(self, texts=texts, environment={**self.environment, "prompt": prompt})


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What an episode returned. None means that the framework does not expose a value.

    Attributes:
        failed: whether the episode is marked as failed or dropped.
        messages: the prompt, and the message after each action.
        reward: sum over the episode; None also for a failed episode.
        terminated: whether an answer ended the episode.
        truncated: whether the turn limit or a failure ended it.
        token_ids: ids of the whole episode.
        mask: for each id, whether the policy wrote it.
    """

    failed: bool
    messages: tuple[str, ...] | None = None
    reward: float | None = None
    terminated: bool | None = None
    truncated: bool | None = None
    token_ids: tuple[int, ...] | None = None
    mask: tuple[bool, ...] | None = None


Play = Callable[[Script], Played]


def make_scripts() -> list[Script]:
    """Return the episodes, always the same: questions, seeds and noise differ within a kind."""
    rng = random.Random(0)
    questions = SharedEnvironment(ENVIRONMENT).questions
    kinds = _texts(questions[0])
    scripts = []
    for kind in kinds:
        for number in range(EPISODES_PER_KIND):
            index = rng.randrange(len(questions))
            environment, noise = ENVIRONMENT, _NOISE[number % len(_NOISE)]
            if "open" in kind:
                environment = {**ENVIRONMENT, "tools": ["search", "open"]}
            if kind == "the engine fails":
                environment, noise = {**ENVIRONMENT, "engine": BROKEN_ENGINE}, 0.0
            scripts.append(
                Script(
                    kind=kind,
                    question_index=index,
                    noise_probability=noise,
                    seed=rng.randrange(2**31),
                    texts=tuple(_texts(questions[index])[kind]),
                    environment=environment,
                )
            )
    return scripts


def plain_reset(script: Script) -> dict[str, Any]:
    """Return the arguments of `reset` with a script's seed, question and noise."""
    return {"seed": script.seed, "options": script.options}


@contextmanager
def gymnasium_player(
    reset: Callable[[Script], dict[str, Any]] = plain_reset,
) -> Iterator[Play]:
    """Yield a function that plays an episode in the environment of `gymnasium.make`.

    Args:
        reset: returns the arguments of `reset` for a script.
    """
    envs: dict[str, gymnasium.Env[Any, str]] = {}

    def play(script: Script) -> Played:
        settings = dict(script.environment)
        key = repr(sorted(settings.items(), key=str))
        if key not in envs:
            env_id = settings.pop("id")
            envs[key] = gymnasium.make(env_id, disable_env_checker=True, **settings)
        env = envs[key]
        observation, info = env.reset(**reset(script))
        messages, total = [observation["message"]], 0.0
        terminated = truncated = False
        for text in script.texts:
            observation, reward, terminated, truncated, info = env.step(text)
            messages.append(observation["message"])
            total += float(reward)
            if terminated or truncated:
                break
        failed = info.get("failure") is not None
        return Played(
            failed=failed,
            messages=tuple(messages),
            reward=None if failed else total,
            terminated=terminated,
            truncated=truncated,
        )

    yield play
    for env in envs.values():
        env.close()


def differences(played: Played, expected: Played) -> list[str]:
    """Return the names of the exposed values that are not the expected ones."""
    return [name for name in exposed(played) if getattr(played, name) != getattr(expected, name)]


def exposed(played: Played) -> list[str]:
    """Return the names of the values that a framework exposes."""
    return [one.name for one in fields(played) if getattr(played, one.name) is not None]


def stripped(played: Played) -> Played:
    """Return an episode whose messages have no white space around them, as those of tools."""
    messages = played.messages
    return replace(played, messages=messages and tuple(map(str.strip, messages)))


def _texts(question: Question) -> dict[str, Sequence[str]]:
    """Return the texts of each kind of episode about a question."""
    search, right = f"<search>{question.text}</search>", f"<answer>{question.answers[0]}</answer>"
    wrong, think = "<answer>nobody</answer>", "<think>I look it up.</think>"
    return {
        "search and answer": [f"{think}{search}", f"<think>So.</think>{right}"],
        "three searches, wrong answer": [
            search,
            "<search>höchster Berg, 山?</search>",
            search,
            wrong,
        ],
        "search and open": [search, "<open>1</open>", f"{think}<open>2 p2</open>", right],
        "malformed opens": ["<open>1</open>", search, "<open>9</open> x", right],
        "malformed, then search": ["I do not know.", f"{think}{search}", right],
        "malformed to the turn limit": ["Hm.", "<search> </search>", "x</answer>", "<answer>x"],
        "searches to the turn limit": [search, "<search>more</search>", search, search],
        "text after an action": [f"{search} so {right}", f"{right}{search}"],
        "documents of the agent": [f"<information>{right}</information>{right}", search, right],
        "the engine fails": ["Well.", search, right],
    }
