"""The objects of a training run, restored from its newest checkpoint.

A process that is killed at any moment is continued from there to the same bits: `RunState` holds
everything that a run needs beside weights and optimizer. With `one_step_off`, a run that SIGTERM
stops collects the episodes of its next step with the new weights when it is continued.

In a distributed run every rank opens a `Run` with its own environments and a full copy of the
policy to sample from; only the main rank writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from agents.evaluation.progress import ProgressBar
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext, RankLostError
from agents.llm.distributed.fsdp import gather_weights
from agents.llm.distributed.stop_signal import StopSignal
from agents.llm.generators.base import Generator
from agents.llm.generators.factory import make_generator
from agents.llm.learner.learner import Learner
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.rollout.prefetch import RolloutPrefetcher
from agents.llm.trainer.config import TrainConfig, env_settings
from agents.llm.trainer.environments import training_environment, uses_policy
from agents.llm.trainer.evaluator import Evaluator, Row
from agents.llm.trainer.metrics import MetricsLog
from agents.llm.trainer.run_folder import RunFolder, load_state
from agents.llm.trainer.setup import (
    choose_precision,
    choose_prompt,
    learning_rate_warning,
    load_trained_policy,
    random_state,
    restore_random_state,
    set_up_torch,
)
from agents.specs import spec_from_text
from agents.storage.config_file import with_settings
from zs_env.search.types import SearchCost
from zs_env.vector_env import ZeroSearchVectorEnv

T = TypeVar("T")


@dataclass
class RunState:
    """State of a run beside weights and optimizer."""

    step: int = 0  # updates made
    cursor: int = 0  # questions passed so far, whether asked or skipped
    train_seconds: float = 0.0  # as in `TrainResult`
    skipped_in_a_row: int = 0  # latest steps whose loss or gradient was not finite
    no_signal_in_a_row: int = 0  # latest steps in which no rewards could be compared
    failed_in_a_row: int = 0  # latest steps in which engine failures ended most episodes
    metrics_position: int = 0  # size of the metrics file after this step, in bytes
    before: list[Row] | None = None  # evaluation of the initial policy; None until it is made
    rollbacks: int = 0  # how often the policy was rolled back after a collapse
    recent: Sequence[Mapping[str, Any]] = ()  # metrics that `check_collapse` compares
    costs: dict[str, Any] = field(default_factory=dict)  # fields of `SearchCost`, so far
    # Every global random state; of the main rank, and after a resume of all ranks. Nothing that
    # differs between ranks is drawn from it: rollouts have their own seeds.
    random: dict[str, Any] = field(default_factory=random_state)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The objects of a run."""

    config: TrainConfig
    distributed: DistributedContext
    stop: StopSignal  # SIGTERM interrupts what `split` runs
    folder: RunFolder[TrainConfig]
    state: RunState
    # Sampled from and saved. With one rank the learner trains this model in place. With several it
    # is a full copy on each rank, updated by `sync_weights`; the copy takes the memory of all
    # weights once more (twice with `rollout_dtype`).
    policy: Policy
    learner: Learner
    generator: Generator
    prefetcher: RolloutPrefetcher
    environment: ZeroSearchVectorEnv
    evaluator: Evaluator
    metrics: MetricsLog | None  # None on ranks other than the main one
    progress: ProgressBar

    def split(self, work: Callable[[], Sequence[T]], what: str) -> list[T]:
        """Run each rank's part of work that can be repeated, and return all parts.

        Raises:
            Stopped: on all ranks, if one received SIGTERM.
        """

        def part() -> Sequence[T]:
            with self.stop.interruptible():
                return work()

        return self.distributed.gather(part, what)

    def sync_weights(self) -> None:
        """Send the learner's weights to the generator."""
        gather_weights(self.learner.policy, self.policy.model, self.distributed)
        # Ranks share servers: no rank samples from them before they have the weights.
        self.distributed.gather(
            lambda: [self.generator.load_weights()], "send the new weights to the generators"
        )

    def costs(self) -> dict[str, float]:
        """Cost of all searches of the run, except those of the real engine."""
        mine = self.environment.costs + self.evaluator.costs()
        return asdict(sum(self.distributed.all_gather(mine, "add up costs"), SearchCost()))

    def rollback(self, *, lr_scale: float) -> str:
        """Restore the policy of the best checkpoint, or the initial one; returns its name.

        The step count stays, prefetched rollouts are dropped, and `sync_weights` must follow.

        Args:
            lr_scale: factor of all learning rates from now on.
        """
        checkpoints, model = self.folder.checkpoints, self.config.model
        best = checkpoints.best()
        source = None if best is None else checkpoints.path(best[0])
        restored = load_trained_policy(model, source, kl_coef=self.config.algorithm.kl_coef).model
        state = None if source is None else load_state(source)["learner"]
        self.learner.rollback(restored, state, lr_scale=lr_scale)
        self.prefetcher.clear()
        return str(source or model.policy)


@contextmanager
def open_run(
    config: TrainConfig, distributed: DistributedContext = SINGLE_PROCESS
) -> Iterator[Run]:
    """Make the objects of a run in the state of its newest checkpoint, and close them."""
    folder = RunFolder(config)
    config = folder.config
    check_one_step_off(config, distributed)
    set_up_torch(config.run, device=config.model.device, distributed=distributed)
    folder.config = config = choose_precision(config, distributed)
    checkpoint = folder.checkpoints.latest()
    policy = load_trained_policy(config.model, checkpoint, kl_coef=config.algorithm.kl_coef)
    prompt = choose_prompt(config.environment.prompt, policy)
    config = with_settings(config, {"prompt": prompt})
    trained_with, rules = policy.env_settings, env_settings(config.environment)
    policy.record_env_settings(rules)
    # Forward passes of a sharded model need all ranks, but each rank samples at its own pace.
    trained = policy.model if distributed.world_size == 1 else deepcopy(policy.model)
    learner = make_learner(config, trained, distributed)
    state, prefetched = _restore(checkpoint, learner)
    with ExitStack() as opened:
        rollouts = config.rollouts
        num_questions = -(-rollouts.questions_per_step // distributed.world_size)
        environment = training_environment(config, num_questions * rollouts.group_size, policy)
        opened.callback(environment.close)
        if distributed.is_main:
            costs = environment.costs
            costs += SearchCost(**state.costs)  # in place
        evaluator = Evaluator(config, policy, distributed)
        opened.callback(evaluator.close)
        distributed.run_on_main(folder.record_config, "begin the run")
        metrics = None
        if distributed.is_main:
            metrics = MetricsLog(
                folder.path,
                position=state.metrics_position,
                step=state.step,
                tensorboard=config.run.tensorboard,
                tracker=config.run.tracker,
                config=config.to_json(),
            )
            opened.callback(metrics.close)
        console = Console(stderr=True, quiet=not distributed.is_main)
        total, step = config.run.steps, state.step
        progress = ProgressBar(console, "step", total=total, completed=step, print_updates=True)
        if changes := {name: old for name, old in trained_with.items() if rules.get(name) != old}:
            now = {name: rules.get(name) for name in changes}
            console.print(f"the policy was trained with {changes}; this run uses {now}")
        if warning := learning_rate_warning(config.optimizer.learning_rate, policy.model):
            console.print(warning)
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
            prefetcher=RolloutPrefetcher(distributed, generator, stop, prefetched),
            environment=environment,
            evaluator=evaluator,
            metrics=metrics,
            progress=opened.enter_context(progress),
        )


def _restore(checkpoint: Path | None, learner: Learner) -> tuple[RunState, Any]:
    """Load a checkpoint; returns the state of the run and its prefetched rollouts.

    The learner keeps the only reference to the loaded state of the optimizer.
    """
    if checkpoint is None:
        return RunState(), None
    saved = load_state(checkpoint)
    learner.load_state_dict(saved["learner"])
    state = RunState(**saved["run"])
    restore_random_state(state.random)
    return state, saved.get("prefetched")


def check_one_step_off(config: TrainConfig, distributed: DistributedContext) -> None:
    """Check that nothing reads the weights in training while an update changes them.

    Raises:
        ValueError: if the generator or the engine's text generator does.
    """
    # With several ranks the policy that is sampled from is a copy of the one that is trained.
    if not config.rollouts.one_step_off or distributed.world_size > 1:
        return
    generation, engine = config.generation, config.environment.engine
    kind = spec_from_text(generation.generator or "transformers", role="generator")["kind"]
    if kind == "transformers" and generation.rollout_dtype is None:
        raise ValueError(
            "one_step_off collects rollouts during an update, but the generator 'transformers' "
            "reads the weights in training; give it a copy with "
            f"rollout_dtype={config.model.dtype!r}, or choose a generator with its own weights, "
            "such as 'vllm-server'"
        )
    if engine and uses_policy(spec_from_text(engine, role="engine")):
        raise ValueError(
            "one_step_off collects rollouts during an update, but in --engine the policy in "
            "training generates the pages; leave one_step_off out, or choose another generator"
        )


def make_learner(
    config: TrainConfig, model: Any, distributed: DistributedContext = SINGLE_PROCESS
) -> Learner:
    """Make the learner of a run, before its first update.

    The reference model is the initial policy, also if `model` comes from a checkpoint.
    """
    reference, settings = None, config.model
    if config.algorithm.kl_coef > 0:
        reference = model
        if not settings.lora_rank:
            initial = load_policy(settings.policy, dtype=settings.dtype, device=str(model.device))
            reference = initial.model.requires_grad_(False)
    return Learner(
        model,
        algorithm=config.algorithm,
        optimizer=config.optimizer,
        reference_model=reference,
        total_updates=config.run.steps,
        temperature=config.generation.temperature,
        loss_divisor=config.environment.max_turns * config.generation.max_new_tokens,
        seed=config.run.seed,
        distributed=distributed,
    )


def _open_generator(
    config: TrainConfig, policy: Policy, distributed: DistributedContext, opened: ExitStack
) -> Generator:
    """Make this rank's generator; the main rank goes first and sends servers the weights."""
    if not distributed.is_main:
        distributed.all_gather(None, "send the weights to the generators")
    generator = make_generator(
        policy,
        config.generation.generator,
        dtype=config.generation.rollout_dtype,
        folder=config.run.output / "weights" if distributed.is_main else None,
    )
    opened.callback(generator.close)
    if distributed.is_main:
        distributed.all_gather(None, "send the weights to the generators")
    return generator
