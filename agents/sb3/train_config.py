"""Settings of `zerosearch train-sb3`. Imports no torch, so that `--help` is fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from agents.evaluation.settings import specs_from_flags
from agents.noise_kinds import NoiseKindsFlag
from agents.prompt_limits import PromptLimits
from agents.sb3.choices import Limits
from agents.specs import default_spec, held_out_questions
from zs_env.config import WORLD
from zs_env.text.paths import expand_paths

AlgorithmName = Literal["ppo", "a2c", "dqn"]
SETTINGS_FILE, MODEL_FILE = "sb3.json", "model.zip"

_FREE_ON_RESUME = ["output", "resume", "json", "checkpoint_every"]
_FREE_ON_RESUME += ["eval_questions", "eval_noise", "eval_episodes"]
_POSITIVE = ("steps", "num_envs", "checkpoint_every", "threads", *Limits._fields)


@dataclass(frozen=True, kw_only=True)
class TrainSB3Config(PromptLimits, NoiseKindsFlag):
    """Train a small network to choose searches and answers, with stable-baselines3.

    Attributes:
        algorithm: algorithm of stable-baselines3.
        env: environment id.
        questions: training questions in place of the environment's: a JSON spec, a kind, or a file.
        engine: search engine in place of the environment's: a JSON spec or a kind.
        eval_questions: held-out questions, as `questions`; those of a world by default.
        noise: noise probability in [0, 1] in training.
        steps: actions in training, over all environments.
        num_envs: environments that are stepped in turn.
        max_turns: actions in an episode.
        num_queries: queries to choose from, the question included.
        num_answers: answers to choose from.
        learning_rate: initial learning rate, decayed to 0; the algorithm's own by default.
        seed: random seed.
        output: run folder.
        resume: continue from the newest checkpoint in `output`; start if there is none.
        checkpoint_every: steps between checkpoints.
        eval_episodes: held-out questions played after training, also by search-once and random.
        eval_noise: noise probabilities of the evaluation.
        threads: CPU threads of torch; the network is too small to use more than one.
        json: print a JSON object as the last line of standard output.
    """

    algorithm: AlgorithmName = "ppo"
    env: str = "ZeroSearch-v0"
    questions: str | None = None
    engine: str | None = None
    eval_questions: str | None = None
    noise: float = 0.5
    steps: int = 200_000
    num_envs: int = 16
    max_turns: int = 6
    num_queries: int = 10
    num_answers: int = 8
    learning_rate: float | None = None
    seed: int = 0
    output: Path = Path("runs/sb3")
    resume: bool = False
    checkpoint_every: int = 50_000
    eval_episodes: int = 512
    eval_noise: tuple[float, ...] = (0.0, 0.25, 0.5)
    threads: int = 1
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        expand_paths(self)
        self.noise_settings()
        minima = {"seed": 0, "eval_episodes": 0, **dict.fromkeys(_POSITIVE, 1)}
        for name, minimum in minima.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {getattr(self, name)}")
        for noise in (self.noise, *self.eval_noise):
            if not 0 <= noise <= 1:
                raise ValueError(f"noise and eval_noise must be in [0, 1], got {noise}")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")

    @property
    def limits(self) -> Limits:
        """Numbers of choices."""
        return Limits(self.max_turns, self.num_queries, self.num_answers)

    def fixed_settings(self) -> dict[str, Any]:
        """Settings that a resumed run must keep, as JSON values."""
        return {name: v for name, v in asdict(self).items() if name not in _FREE_ON_RESUME}

    def env_kwargs(self, *, held_out: bool = False) -> dict[str, Any]:
        """Return the arguments of the environment for training or with the held-out questions.

        Raises:
            ValueError: if there are no held-out questions.
        """
        specs = specs_from_flags(
            questions=self.questions, engine=self.engine, limits=self.prompt_limits()
        )
        kwargs: dict[str, Any] = {"max_turns": self.max_turns, **specs, **self.noise_settings()}
        if held_out:
            questions = kwargs.get("questions") or default_spec(self.env, "questions") or WORLD
            kwargs["questions"] = held_out_questions(questions, self.eval_questions)
        return kwargs
