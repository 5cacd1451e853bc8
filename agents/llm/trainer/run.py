"""What a training run works with, opened in the state of its newest checkpoint.

A process that dies at any moment is continued from there to the same bits: what the run knows
beside its weights and its optimizer is in `RunState`.

On several ranks each opens one of these, with environments and a whole policy of its own to play
with; only the first writes files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from rich.console import Console
from transformers.utils import logging as transformers_logging

from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext, RankLostError
from agents.llm.distributed.fsdp import gather_weights
from agents.llm.distributed.stop_signal import StopSignal
from agents.llm.generators.base import Generator
from agents.llm.generators.factory import make_generator
from agents.llm.learner.allocator import keep_freed_memory
from agents.llm.learner.learner import Learner
from agents.llm.policy.lora import adapter_size, add_adapter, has_adapter, train_adapter
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.rollout.prefetch import RolloutPrefetcher
from agents.llm.trainer.checkpoint import load_state, random_state, restore_random_state
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import search_costs, training_environment, training_questions
from agents.llm.trainer.evaluator import Evaluator, Row
from agents.llm.trainer.learner_settings import make_learner
from agents.llm.trainer.metrics import MetricsLog, NoMetrics
from agents.llm.trainer.progress import TrainProgress
from agents.llm.trainer.run_folder import RunFolder
from agents.llm.trainer.self_search import writes_itself
from agents.specs import spec_from_text
from zs_env.questions.question import QuestionDataset
from zs_env.search.types import SearchCost

T = TypeVar("T")


@dataclass
class RunState:
    """What a run knows beside weights and optimizer.

    Attributes:
        step: updates made.
        cursor: questions passed so far, asked or not.
        train_seconds: from the first rollout to the last update, evaluation inside included.
        skipped_in_a_row: latest steps whose loss or gradient was not finite.
        void_in_a_row: latest steps in which failures of the engine ended most episodes.
        metrics_position: bytes of the metrics file up to this step.
        before: examination of the policy as it started; None until it is taken.
        rollbacks: times that the policy was put back after a collapse.
        watched: what `CollapseWatch` has seen.
        costs: what the searches so far took, fields of `zs_env.search.types.SearchCost`.
        random: every global random state; of the first rank, and from a resumed run's start of
            all. Nothing that differs between ranks is drawn from it: rollouts have seeds.
    """

    step: int = 0
    cursor: int = 0
    train_seconds: float = 0.0
    skipped_in_a_row: int = 0
    void_in_a_row: int = 0
    metrics_position: int = 0
    before: list[Row] | None = None
    rollbacks: int = 0
    watched: list[dict[str, Any]] = field(default_factory=list)
    costs: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=random_state)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a run works with.

    Attributes:
        policy: what plays and is saved. On one rank the learner trains its model in place; on
            several it is a whole copy on each, which takes the memory of all weights once more
            (twice with `rollout_dtype`), and follows the learner's with `sync_weights`.
        questions: empty where no curriculum looks at them.
        stop: interrupts what `split` runs.
        prefetcher: keeps the rollouts of the next step.
    """

    config: TrainConfig
    distributed: DistributedContext
    stop: StopSignal
    folder: RunFolder
    state: RunState
    policy: Policy
    learner: Learner
    generator: Generator
    prefetcher: RolloutPrefetcher
    environment: VectorEnv
    questions: QuestionDataset
    examination: Evaluator
    metrics: MetricsLog | NoMetrics
    progress: TrainProgress

    def split(self, work: Callable[[], Sequence[T]], what: str) -> list[T]:
        """Let each rank do its part of what can be repeated, and put the parts together.

        Raises:
            Stopped: on all ranks, at once, where SIGTERM came to one.
        """

        def part() -> Sequence[T]:
            with self.stop.interruptible():
                return work()

        return self.distributed.gather(part, what)

    def sync_weights(self) -> None:
        """Play with the policy as it is now."""
        if self.distributed.world_size > 1:
            with self.distributed.waiting_for("gather the new weights"):
                gather_weights(self.learner.policy, self.policy.model)

        def bring() -> Sequence[None]:
            self.generator.load_weights()
            return ()

        # Servers are shared: nobody samples from them until they have the weights.
        self.distributed.gather(bring, "bring the new weights to where episodes are written")

    def costs(self) -> dict[str, float]:
        """What all searches of the run took, but for those of the real engine."""
        mine = search_costs(self.environment) + self.examination.costs()
        return asdict(sum(self.distributed.all_gather(mine, "add up costs"), SearchCost()))

    def rollback(self, *, lr_scale: float) -> str:
        """Put the policy back to its best checkpoint, or else to its beginning.

        The run goes on from the step where it is; `sync_weights` follows, as after any step. What
        the policy that collapsed has prefetched is dropped.

        Args:
            lr_scale: factor on every learning rate from now on.

        Returns:
            Where the policy came from.
        """
        checkpoints = self.folder.checkpoints
        best = checkpoints.best()
        source = None if best is None else checkpoints.path(best[0])
        kept = _load_policy(self.config, source).model
        state = None if source is None else load_state(source)["learner"]
        self.learner.rollback(kept, state, lr_scale=lr_scale)
        self.prefetcher.clear()
        return str(source or self.config.policy)


@contextmanager
def open_run(
    config: TrainConfig, distributed: DistributedContext = SINGLE_PROCESS
) -> Iterator[Run]:
    """Load or make all that a run works with, in the state of its newest checkpoint."""
    folder = RunFolder(config, threads=torch.get_num_threads())
    config = folder.config
    check_one_step_off(config, distributed)
    _set_up_torch(config, distributed)
    checkpoint = folder.checkpoints.latest()
    policy = _load_policy(config, checkpoint)
    config = replace(config, prompt=_prompt(config, policy))
    policy.model.config.zerosearch_prompt = config.prompt
    # Passes over a model in parts need all ranks, and each plays at its own pace.
    trained = policy.model if distributed.world_size == 1 else deepcopy(policy.model)
    learner = make_learner(config, trained, distributed)
    state, saved = RunState(), {}
    if checkpoint is not None:
        saved = load_state(checkpoint)
        learner.load_state_dict(saved["learner"])
        state = RunState(**saved["run"])
        restore_random_state(state.random)
    with ExitStack() as opened:
        num_questions = -(-config.questions_per_step // distributed.world_size)
        environment = training_environment(config, num_questions * config.group_size, policy)
        opened.callback(environment.close)
        if distributed.is_main:
            costs = search_costs(environment)
            costs += SearchCost(**state.costs)  # in place
        examination = Evaluator(config, policy, distributed)
        opened.callback(examination.close)
        distributed.run_on_main(folder.record_config, "begin the run")
        metrics = _open_metrics(config, folder, state) if distributed.is_main else NoMetrics()
        opened.callback(metrics.close)
        console = Console(stderr=True, quiet=not distributed.is_main)
        stop = opened.enter_context(StopSignal(outlasting=RankLostError))
        generator = _open_generator(config, policy, distributed, opened)
        yield Run(
            config=config,
            distributed=distributed,
            stop=stop,
            folder=folder,
            state=state,
            policy=policy,
            learner=learner,
            generator=generator,
            prefetcher=RolloutPrefetcher(distributed, generator, stop, saved.get("prefetched")),
            environment=environment,
            questions=training_questions(config) if config.curriculum else (),
            examination=examination,
            metrics=metrics,
            progress=opened.enter_context(
                TrainProgress(config.steps, done=state.step, console=console)
            ),
        )


def check_one_step_off(config: TrainConfig, distributed: DistributedContext) -> None:
    """Check that nothing reads the weights in training while an update changes them.

    Raises:
        ValueError: if the generator or the engine's text generator does.
    """
    # On several ranks the policy that plays is a copy of the one that is trained.
    if not config.one_step_off or distributed.world_size > 1:
        return
    kind = spec_from_text(config.generator or "transformers", role="generator")["kind"]
    if kind == "transformers" and config.rollout_dtype is None:
        raise ValueError(
            "one_step_off collects rollouts during an update, but the generator 'transformers' "
            "reads the weights in training; give it a copy with "
            f"rollout_dtype={config.dtype!r}, or choose a generator with its own weights, such as "
            "'vllm-server'"
        )
    if config.engine and writes_itself(spec_from_text(config.engine, role="engine")):
        raise ValueError(
            "one_step_off collects rollouts during an update, but in --engine the policy in "
            "training writes the pages; leave one_step_off out, or choose another writer"
        )


def _open_metrics(config: TrainConfig, folder: RunFolder, state: RunState) -> MetricsLog:
    return MetricsLog(
        folder.path,
        position=state.metrics_position,
        step=state.step,
        tensorboard=config.tensorboard,
        tracker=config.tracker,
        config=config.to_json(),
    )


def _load_policy(config: TrainConfig, checkpoint: Path | None) -> Policy:
    """The run's policy as a checkpoint has it, or as it begins; ready to be trained."""
    source = checkpoint or config.policy
    policy = load_policy(source, dtype=config.dtype, device=_device(config))
    if checkpoint is None and has_adapter(policy.model):
        _check_adapter(config, *adapter_size(policy.model))
    if config.lora_rank and not has_adapter(policy.model):
        add_adapter(policy.model, rank=config.lora_rank, alpha=config.lora_alpha)
    elif config.lora_rank:
        train_adapter(policy.model)
    return policy


def _check_adapter(config: TrainConfig, rank: int, alpha: int) -> None:
    """Refuse settings that do not fit the adapter which a policy brings along."""
    if (config.lora_rank, config.lora_alpha) != (rank, alpha):
        raise ValueError(
            f"the policy {config.policy} has an adapter of rank {rank} and alpha {alpha}, got "
            f"lora_rank={config.lora_rank}, lora_alpha={config.lora_alpha}; give those of the "
            "adapter, or merge it: load_policy(FOLDER).save_merged(OTHER)"
        )
    if config.kl_coef > 0:
        raise ValueError(
            f"kl_coef={config.kl_coef} would keep the policy {config.policy} near the model under "
            "its adapter, not near itself; merge it: load_policy(FOLDER).save_merged(OTHER)"
        )


def _prompt(config: TrainConfig, policy: Policy) -> str | None:
    """The prompt asked for, or the one that the policy was trained with, if it says."""
    return config.prompt or policy.prompt


def _open_generator(
    config: TrainConfig, policy: Policy, distributed: DistributedContext, opened: ExitStack
) -> Generator:
    """The generator of this rank; the first one's brings servers the weights before others come."""
    if not distributed.is_main:
        distributed.all_gather(None, "bring the weights to where episodes are written")
    generator = make_generator(
        policy,
        config.generator,
        dtype=config.rollout_dtype,
        folder=config.output / "weights" if distributed.is_main else None,
    )
    opened.callback(generator.close)
    if distributed.is_main:
        distributed.all_gather(None, "bring the weights to where episodes are written")
    return generator


def _device(config: TrainConfig) -> str:
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _set_up_torch(config: TrainConfig, distributed: DistributedContext) -> None:
    keep_freed_memory()
    if distributed.world_size > 1 and _device(config) == "cuda":
        torch.cuda.set_device(distributed.local_rank)
    # One progress bar is enough.
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(config.threads)
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    if config.deterministic:
        # Warnings only: a few operations have no deterministic form on a GPU.
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
