"""What a training run works with, opened in the state of its newest checkpoint.

A process that dies at any moment is continued from there to the same bits: what the run knows
beside its weights and its optimizer is in `RunState`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from transformers.utils import logging as transformers_logging

from agents.llm.allocator import keep_freed_memory
from agents.llm.checkpoint import load_state, random_state, restore_random_state
from agents.llm.environments import search_costs, training_environment, training_questions
from agents.llm.examination import Examination, Row
from agents.llm.generator import Generator
from agents.llm.generators import make_generator
from agents.llm.learner import Learner
from agents.llm.learner_settings import make_learner
from agents.llm.lora import add_adapter, has_adapter, train_adapter
from agents.llm.metrics import MetricsLog
from agents.llm.policy import Policy, load_policy
from agents.llm.progress import TrainProgress
from agents.llm.run_folder import RunFolder
from agents.llm.train_config import TrainConfig
from zs_env.dealer import QuestionSource
from zs_env.engine_call import Costs


@dataclass
class RunState:
    """What a run knows beside weights and optimizer.

    Attributes:
        step: updates made.
        cursor: questions passed so far, asked or not.
        train_seconds: from the first rollout to the last update, evaluation inside included.
        skipped_in_a_row: latest steps whose loss or gradient was not finite.
        metrics_position: bytes of the metrics file up to this step.
        before: examination of the policy as it started; None until it is taken.
        rollbacks: times that the policy was put back after a collapse.
        watched: what `CollapseWatch` has seen.
        costs: what the searches so far took, fields of `zs_env.engine_call.Costs`.
        random: every global random state.
    """

    step: int = 0
    cursor: int = 0
    train_seconds: float = 0.0
    skipped_in_a_row: int = 0
    metrics_position: int = 0
    before: list[Row] | None = None
    rollbacks: int = 0
    watched: list[dict[str, Any]] = field(default_factory=list)
    costs: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=random_state)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a run works with; `questions` is empty where no curriculum looks at them."""

    config: TrainConfig
    folder: RunFolder
    state: RunState
    policy: Policy
    learner: Learner
    generator: Generator
    environment: VectorEnv
    questions: QuestionSource
    examination: Examination
    metrics: MetricsLog
    progress: TrainProgress

    def costs(self) -> dict[str, float]:
        """What all searches of the run took, but for those of the real engine."""
        total = Costs()
        total.add(search_costs(self.environment))
        total.add(self.examination.costs())
        return asdict(total)

    def put_back(self, *, lr_scale: float) -> str:
        """Put the policy back to its best checkpoint, or else to its beginning.

        The run goes on from the step where it is.

        Args:
            lr_scale: factor on every learning rate from now on.

        Returns:
            Where the policy came from.
        """
        checkpoints = self.folder.checkpoints
        best = checkpoints.best()
        source = None if best is None else checkpoints.path(best[0])
        kept = _load_policy(self.config, source).model.state_dict()
        self.policy.model.load_state_dict(kept)
        state = None if source is None else load_state(source)["learner"]
        self.learner.put_back(state, lr_scale=lr_scale)
        self.generator.load_weights()
        return str(source or self.config.policy)


@contextmanager
def open_run(config: TrainConfig) -> Iterator[Run]:
    """Load or make all that a run works with, in the state of its newest checkpoint."""
    folder = RunFolder(config, threads=torch.get_num_threads())
    config = folder.config
    _set_up_torch(config)
    checkpoint = folder.checkpoints.latest()
    policy = _load_policy(config, checkpoint)
    config = replace(config, prompt=_prompt(config, policy))
    policy.model.config.zerosearch_prompt = config.prompt
    learner = make_learner(config, policy)
    state = RunState()
    if checkpoint is not None:
        saved = load_state(checkpoint)
        learner.load_state_dict(saved["learner"])
        state = RunState(**saved["run"])
        restore_random_state(state.random)
    with ExitStack() as opened:
        num_envs = config.questions_per_step * config.group_size
        environment = training_environment(config, num_envs, policy)
        opened.callback(environment.close)
        search_costs(environment).add(Costs(**state.costs))
        examination = Examination(config, policy)
        opened.callback(examination.close)
        folder.record_config()
        metrics = MetricsLog(
            folder.path,
            position=state.metrics_position,
            step=state.step,
            tensorboard=config.tensorboard,
            tracker=config.tracker,
            config=config.to_json(),
        )
        opened.callback(metrics.close)
        yield Run(
            config=config,
            folder=folder,
            state=state,
            policy=policy,
            learner=learner,
            generator=_open_generator(config, policy, opened),
            environment=environment,
            questions=training_questions(config) if config.curriculum else (),
            examination=examination,
            metrics=metrics,
            progress=opened.enter_context(TrainProgress(config.steps, done=state.step)),
        )


def _load_policy(config: TrainConfig, checkpoint: Path | None) -> Policy:
    """The run's policy as a checkpoint has it, or as it begins; ready to be trained."""
    source = checkpoint or config.policy
    policy = load_policy(source, dtype=config.dtype, device=_device(config))
    if config.lora_rank and not has_adapter(policy.model):
        add_adapter(policy.model, rank=config.lora_rank, alpha=config.lora_alpha)
    elif config.lora_rank:
        train_adapter(policy.model)
    return policy


def _prompt(config: TrainConfig, policy: Policy) -> str | None:
    """The prompt asked for, or the one that the policy was trained with, if it says."""
    return config.prompt or policy.prompt


def _open_generator(config: TrainConfig, policy: Policy, opened: ExitStack) -> Generator:
    generator = make_generator(
        policy, config.generator, dtype=config.rollout_dtype, folder=config.output / "weights"
    )
    opened.callback(generator.close)
    return generator


def _device(config: TrainConfig) -> str:
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _set_up_torch(config: TrainConfig) -> None:
    keep_freed_memory()
    # One progress bar is enough.
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(config.threads)
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    if config.deterministic:
        # Warnings only: a few operations have no deterministic form on a GPU.
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
