"""The learner: turns groups of rollouts into optimizer steps on the policy.

An update whose loss or gradient is not finite keeps the weights of its last good step and returns
the batch in its report.

Every rank holds the whole batch and the same experience, and computes its share of each gradient.
The summed gradient equals that of a single process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from agents.llm.algorithms.losses import token_weights
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.fsdp import (
    apply_fsdp,
    full_tensor,
    load_optimizer_state,
    load_weights,
    optimizer_state,
    trained_weights,
)
from agents.llm.learner.batch import Batch, MicroBatch, split_minibatches
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.experience import (
    Experience,
    critic_objective,
    make_experience,
    policy_objective,
    score,
)
from agents.llm.learner.metrics import StepMeans, UpdateReport, input_metrics
from agents.llm.learner.models import Critic, LogprobModel
from agents.llm.learner.optimizer import adamw, learning_rate_factor, policy_optimizers
from agents.llm.policy.layers import compiling, marked_layers, recomputing
from agents.llm.policy.lora import without_adapter
from agents.llm.policy.precision import bfloat16_autocast
from agents.llm.rollout.types import Group


class Learner:
    """Trains a policy in place, on all ranks of a run together.

    Args:
        policy_model: a Hugging Face causal language model. It is put in eval mode, because dropout
            would make the trained probabilities differ from the sampled ones.
        algorithm: settings of the algorithm.
        optimizer: settings of the optimizer.
        reference_model: never trained; needed if kl_coef is above 0. It may be the policy's model
            itself if that has an adapter, which is then disabled.
        critic: for algorithms with a critic; None copies it from the policy.
        total_updates: length of the learning-rate schedule.
        temperature: sampling temperature of the rollouts.
        loss_divisor: tokens per rollout that the loss aggregation "constant" divides by.
        muon_learning_rate: peak learning rate of Muon for the matrices of layers; None: no Muon.
        seed: seed of the order of the minibatches.
        distributed: ranks that policy, reference, critic and optimizer are sharded over. With more
            than one, call the models through the learner only; `gather_weights` copies the policy.

    Attributes:
        policy: the model in training.
        critic: the critic in training; None without one.
        updates: number of updates so far.
        lr_scale: factor on every learning rate; below 1 after a collapse.

    Raises:
        ValueError: if there is a KL without a reference model, or a setting needs transformer
            layers that the model does not have.
    """

    def __init__(
        self,
        policy_model: Any,
        *,
        algorithm: AlgorithmConfig,
        optimizer: OptimizerConfig,
        reference_model: Any | None = None,
        critic: Critic | None = None,
        total_updates: int,
        temperature: float = 1.0,
        loss_divisor: int = 1024,
        muon_learning_rate: float | None = None,
        seed: int = 0,
        distributed: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        if algorithm.kl_coef > 0 and reference_model is None:
            raise ValueError(
                f"kl_coef is {algorithm.kl_coef} but there is no reference_model; "
                "pass one or set kl_coef=0"
            )
        self.policy = policy_model
        self.config = algorithm
        self.optimizer_config = optimizer
        self.total_updates = total_updates
        self.loss_divisor = loss_divisor
        self.distributed = distributed
        self.seed = seed
        self.updates = 0
        self.lr_scale = 1.0
        self.device = next(policy_model.parameters()).device
        self._autocast = bfloat16_autocast(self.device.type, optimizer.autocast)
        policy_model.eval()
        self.critic: Critic | None = None
        if algorithm.row.needs_critic:
            self.critic = (critic or Critic.from_policy(policy_model)).eval()
            apply_fsdp(self.critic, distributed)
        self._policy = self._reference = LogprobModel(policy_model, temperature=temperature)
        apply_fsdp(self._policy, distributed)
        if reference_model is not None and reference_model is not policy_model:
            self._reference = LogprobModel(reference_model.eval(), temperature=temperature)
            apply_fsdp(self._reference, distributed)
        self.optimizers = policy_optimizers(policy_model, optimizer, muon_learning_rate)
        if self.critic is not None:
            rate = algorithm.critic_learning_rate
            self.optimizers["critic"] = adamw(self.critic.parameters(), optimizer, rate)
        self._peaks = {name: one.defaults["lr"] for name, one in self.optimizers.items()}
        trained = [policy_model, self.critic]
        self._recomputed = self._compiled = []
        if optimizer.gradient_checkpointing:
            self._recomputed = marked_layers(trained, "gradient_checkpointing")
        if optimizer.compile_layers:
            self._compiled = marked_layers([*trained, reference_model], "compile_layers")

    def update(self, groups: Sequence[Group]) -> UpdateReport:
        """Make the optimizer steps of one update.

        Args:
            groups: rollouts of one question each. Rollouts that failed or have no action token are
                counted and left out.

        Raises:
            ValueError: if the algorithm compares rollouts, but all groups have only one.
            RankLostError: if another rank does not compute its share.
        """
        if self.config.needs_groups and all(len(g.rollouts) < 2 for g in groups):
            raise ValueError(
                f"{self.config.algorithm} compares the rollouts of a group, but all {len(groups)} "
                "groups have fewer than 2; raise group_size or use algorithm 'reinforce_pp'"
            )
        with self.distributed.waiting_for(f"make update {self.updates + 1}"):
            return self._update(groups)

    def score(self, batch: Batch) -> Tensor:
        """[A] log-probabilities of action tokens under the policy, float64 on the CPU."""
        max_tokens = self.optimizer_config.tokens_per_micro_batch
        with compiling(self._compiled), recomputing(self._recomputed):
            return score(batch, self._policy_logprobs, max_tokens, distributed=self.distributed)

    def _update(self, groups: Sequence[Group]) -> UpdateReport:
        factor = learning_rate_factor(self.optimizer_config, self.updates, self.total_updates)
        factor *= self.lr_scale
        for name, optimizer in self.optimizers.items():
            for parameters in optimizer.param_groups:
                parameters["lr"] = self._peaks[name] * factor
        self.updates += 1
        batch = Batch.from_groups(groups)
        metrics = input_metrics(groups, batch) | {"lr": self._peaks["policy"] * factor}
        if not len(batch):
            actionless = "no rollout has an action token: the prompts fill the context"
            reason = actionless if metrics["actionless_rollouts"] else "every rollout failed"
            return UpdateReport(metrics=metrics, reason=reason)
        with compiling(self._compiled), recomputing(self._recomputed):
            experience = make_experience(
                batch,
                self.config,
                max_tokens=self.optimizer_config.tokens_per_micro_batch,
                policy=self._policy_logprobs,
                reference=self._reference_logprobs,
                critic=self._values if self.critic is not None else None,
                distributed=self.distributed,
            )
            return self._learn(batch, experience, metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next update depends on, except policy and reference weights.

        It is independent of the number of ranks. On ranks other than 0 it holds no tensors.
        """
        state: dict[str, Any] = {"updates": self.updates, "lr_scale": self.lr_scale}
        with self.distributed.waiting_for("gather the optimizer's state"):
            state["optimizers"] = {
                name: optimizer_state(self._trained_module(name), optimizer)
                for name, optimizer in self.optimizers.items()
            }
            if self.critic is not None:
                state["critic"] = trained_weights(self.critic)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state of `state_dict`.

        Raises:
            ValueError: if only one of state and learner has a critic.
        """
        if ("critic" in state) != (self.critic is not None):
            raise ValueError(
                f"the state {'has a' if 'critic' in state else 'lacks the'} critic, but algorithm "
                f"{self.config.algorithm!r} {'needs one' if self.critic else 'has none'}; "
                "resume with the algorithm that the run began with"
            )
        self.updates = state["updates"]
        self.lr_scale = state["lr_scale"]
        for name, optimizer in self.optimizers.items():
            load_optimizer_state(self._trained_module(name), optimizer, state["optimizers"][name])
        if self.critic is not None:
            load_weights(self.critic, state["critic"])

    def rollback(self, model: Any, state: Mapping[str, Any] | None, *, lr_scale: float) -> None:
        """Restore an earlier policy and state; the learning-rate schedule continues.

        Args:
            model: the earlier policy, a full copy.
            state: its `state_dict`; None for that of a new learner.
            lr_scale: factor on every learning rate from now on.
        """
        load_weights(self.policy, model.state_dict())
        updates = self.updates
        if state is not None:
            self.load_state_dict(state)
        else:
            for optimizer in self.optimizers.values():
                optimizer.state.clear()
            if self.critic is not None:
                load_weights(self.critic, Critic.from_policy(model).state_dict())
        self.updates, self.lr_scale = updates, lr_scale

    def _trained_module(self, optimizer: str) -> Any:
        return self.critic if optimizer == "critic" else self.policy

    def _learn(
        self, batch: Batch, experience: Experience, metrics: dict[str, float]
    ) -> UpdateReport:
        """Make every optimizer step of the update."""
        needs_all = (
            self.critic is not None or self.config.kl_in_loss or self.config.entropy_coef > 0
        )
        rows = range(len(batch)) if needs_all else experience.rows_with_advantage(batch)
        with_gradient = set(rows)
        metrics["tokens_computed"] = float(sum(int(batch.counts_B[row]) for row in with_gradient))
        if self.critic is not None:
            metrics["explained_variance"] = experience.explained_variance()
        if not with_gradient:
            return UpdateReport(metrics=metrics, reason="every advantage is zero")
        means, reason = StepMeans(), ""
        config, seed = self.config, self.seed
        for rows in split_minibatches(
            *(len(batch), config.minibatches, config.epochs), seed=seed, update=self.updates
        ):
            computed = [row for row in rows if row in with_gradient]
            if computed:
                reason = self._step(batch, experience, rows, computed, means)
            if reason:
                break
        means = StepMeans.merged(self.distributed.all_gather(means, "count the computed tokens"))
        metrics |= {**means.metrics(), **experience.metrics}
        bad = batch if reason else None
        return UpdateReport(metrics=metrics, reason=reason, batch=bad)

    def _step(
        self,
        batch: Batch,
        experience: Experience,
        rows: Sequence[int],
        computed: Sequence[int],
        means: StepMeans,
    ) -> str:
        """Make one optimizer step on `rows`, of which only `computed` have a gradient.

        Returns which numbers are not finite, in which case no weight changes; "" if all are.
        """
        members_A = torch.isin(batch.rows_A, torch.tensor(rows))
        weights_A = torch.zeros_like(experience.advantages_A)
        weights_A[members_A] = token_weights(
            batch.counts_B[sorted(rows)], self.config.aggregation, divisor=self.loss_divisor
        )
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss = torch.zeros(())
        max_tokens = self.optimizer_config.tokens_per_micro_batch
        for micro_batch in batch.micro_batches(max_tokens, computed, distributed=self.distributed):
            loss = loss + self._backward(micro_batch, batch, experience, weights_A, means)
        loss = self.distributed.all_reduce(loss, "add up the loss")
        norms = {"grad_norm": self._clip(self.policy)}
        if self.critic is not None:
            norms["critic_grad_norm"] = self._clip(self.critic)
        means.add_step(**norms)
        numbers = {"loss": loss} | norms
        broken = [f"{name} is {float(n)}" for name, n in numbers.items() if not n.isfinite()]
        for optimizer in self.optimizers.values():
            if broken:
                optimizer.zero_grad()
            else:
                optimizer.step()
        return "; ".join(broken)

    def _backward(
        self,
        micro_batch: MicroBatch,
        batch: Batch,
        experience: Experience,
        weights_A: Tensor,
        means: StepMeans,
    ) -> Tensor:
        """Accumulate the gradient of a micro-batch; returns its part of the loss."""
        logprobs_A, entropies_A = self._logprobs(self._policy, micro_batch)
        loss, metrics = policy_objective(
            logprobs_A, entropies_A, micro_batch, experience, weights_A, self.config
        )
        loss.backward()
        means.add(**metrics)
        sampled_A = batch.sampled_logprobs_A[micro_batch.tokens_A]
        means.add_tokens(weights_A[micro_batch.tokens_A], logprobs_A.cpu() - sampled_A)
        loss = loss.detach()
        if self.critic is not None:
            values_A = self._values(micro_batch)
            value_loss, metrics = critic_objective(
                values_A, micro_batch, experience, weights_A, self.config
            )
            value_loss.backward()
            means.add(**metrics)
            loss = loss + value_loss.detach()
        return loss.cpu()

    def _clip(self, module: nn.Module) -> Tensor:
        limit = self.optimizer_config.max_grad_norm
        return full_tensor(nn.utils.clip_grad_norm_(module.parameters(), limit))

    def _logprobs(self, model: LogprobModel, micro_batch: MicroBatch) -> tuple[Tensor, Tensor]:
        with self._autocast:
            return model(micro_batch.to(self.device))

    def _policy_logprobs(self, micro_batch: MicroBatch) -> Tensor:
        return self._logprobs(self._policy, micro_batch)[0]

    def _reference_logprobs(self, micro_batch: MicroBatch) -> Tensor:
        shared = self._reference is self._policy
        with without_adapter(self.policy) if shared else nullcontext():
            return self._logprobs(self._reference, micro_batch)[0]

    def _values(self, micro_batch: MicroBatch) -> Tensor:
        assert self.critic is not None
        with self._autocast:
            return self.critic(micro_batch.to(self.device))
