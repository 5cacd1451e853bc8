"""The learner: groups of rollouts in, better weights out.

It knows no algorithm by name and no question by text. An update whose loss or gradient is not
finite leaves the weights as its last good step left them, and hands the batch back to be looked at.

Where a run has several ranks, each holds the whole batch, the same targets and the same
denominators, and computes its share of every step's gradient; the sum is that of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from agents.llm.algorithms.losses import token_weights
from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.distributed.context import SINGLE_PROCESS, DistributedContext
from agents.llm.distributed.fsdp import (
    load_optimizer_state,
    load_weights,
    optimizer_state,
    shard,
    whole,
    whole_weights,
)
from agents.llm.learner.batch import Batch, MicroBatch
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.critic import Critic
from agents.llm.learner.experience import Targets, make_targets
from agents.llm.learner.logprobs import LogprobModel, TokenLogprobs
from agents.llm.learner.metrics import (
    StepMeans,
    UpdateReport,
    explained_variance,
    input_metrics,
)
from agents.llm.learner.objective import critic_share, policy_share
from agents.llm.learner.optimizer import learning_rate_factor, make_optimizer
from agents.llm.learner.packing import reading_lines
from agents.llm.policy.layers import compiling, marked_layers, recomputing
from agents.llm.policy.lora import without_adapter
from agents.llm.rollout.types import Group


class _NonFiniteError(FloatingPointError):
    """A loss or gradient that no step may be taken on."""


class Learner:
    """Trains a policy in place, on all ranks of a run together.

    Args:
        policy_model: a Hugging Face causal language model. It is put in eval mode, so that dropout
            cannot part the probabilities that are trained from those that were sampled. What
            transformers' own gradient checkpointing is set to has no effect in that mode.
        algorithm: what is optimised.
        optimizer: how.
        reference_model: needed where kl_coef is above 0; never trained. The policy's own model
            stands for itself without its adapter.
        critic: for algorithms that have one; None makes it from the policy.
        total_updates: length of the learning-rate schedule.
        temperature: that rollouts are sampled with.
        loss_divisor: tokens per rollout that the loss aggregation "constant" divides by.
        distributed: ranks that policy, reference, critic and optimizer are sharded over. With more
            than one, call the models through the learner only; `gather_weights` copies the policy.

    Attributes:
        policy: the model in training.
        updates: made so far.
        lr_scale: factor on every learning rate; below 1 after a collapse.

    Raises:
        ValueError: where a KL is asked for without a reference, or gradient checkpointing or
            compiled layers of a model without layers.
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
        self.updates = 0
        self.lr_scale = 1.0
        self.device = next(policy_model.parameters()).device
        policy_model.eval()
        self.critic: Critic | None = None
        if algorithm.row.needs_critic:
            self.critic = (critic or Critic.from_policy(policy_model)).eval()
            shard(self.critic, distributed)
            self.critic_optimizer = make_optimizer(
                self.critic, optimizer, lr=algorithm.critic_learning_rate
            )
        self._policy = self._reference = LogprobModel(policy_model, temperature=temperature)
        shard(self._policy, distributed)
        self.optimizer = make_optimizer(policy_model, optimizer)
        if reference_model is not None and reference_model is not policy_model:
            self._reference = LogprobModel(reference_model.eval(), temperature=temperature)
            shard(self._reference, distributed)
        self._recomputed = self._layers("gradient_checkpointing", policy_model, self.critic)
        self._compiled = self._layers("compile_layers", policy_model, self.critic, reference_model)

    def update(self, groups: Sequence[Group]) -> UpdateReport:
        """Learn from groups of rollouts.

        Args:
            groups: rollouts of the same question each; those that are void, or in which the policy
                wrote nothing, are counted and left out.

        Raises:
            ValueError: where the algorithm compares within groups and all groups have one rollout.
            RankLostError: where another rank does not compute its share.
        """
        self._check_groups(groups)
        with self.distributed.waiting_for(f"make update {self.updates + 1}"):
            return self._update(groups)

    def _update(self, groups: Sequence[Group]) -> UpdateReport:
        factor = learning_rate_factor(self.optimizer_config, self.updates, self.total_updates)
        factor *= self.lr_scale
        self._set_learning_rates(factor)
        self.updates += 1
        batch = Batch.from_groups(groups)
        metrics = input_metrics(groups, batch) | {
            "lr": self.optimizer_config.learning_rate * factor
        }
        if not len(batch):
            reason = "every rollout is void"
            if metrics["unwritten_rollouts"]:
                reason = "the policy wrote nothing: prompts fill its context"
            return UpdateReport(metrics=metrics, skipped=True, reason=reason)
        with self._reading():
            targets = self._make_targets(batch)
            return self._learn(batch, targets, metrics)

    def _make_targets(self, batch: Batch) -> Targets:
        return make_targets(
            batch,
            self.config,
            max_tokens=self.optimizer_config.tokens_per_micro_batch,
            share_prompts=self.optimizer_config.share_prompts,
            policy=lambda micro_batch: self._logprobs(self._policy, micro_batch).logprobs_A,
            reference=self._reference_logprobs,
            critic=self._values if self.critic is not None else None,
            distributed=self.distributed,
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Models read and keep what this learner's passes ask for, as long as this lasts."""
        with ExitStack() as restored:
            if self.optimizer_config.share_prompts:
                bodies = [self.policy, self._reference.model, self.critic and self.critic.body]
                different = dict.fromkeys(body for body in bodies if body is not None)
                restored.enter_context(reading_lines(different))
            restored.enter_context(compiling(self._compiled))
            restored.enter_context(recomputing(self._recomputed))
            yield

    def _layers(self, setting: str, *models: nn.Module | None) -> list[nn.Module]:
        """Those of all models where a setting is on, each of them once."""
        if not getattr(self.optimizer_config, setting):
            return []
        layers = [marked_layers(one, setting) for one in models if one is not None]
        return list(dict.fromkeys(chain.from_iterable(layers)))

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on, save the policy's and reference's weights.

        It knows of no ranks: any number of them continues from it. On others than the first, who
        writes it, its tensors are empty.
        """
        keep = self.distributed.is_main
        state: dict[str, Any] = {
            "updates": self.updates,
            "lr_scale": self.lr_scale,
        }
        with self.distributed.waiting_for("gather the optimizer's state"):
            state["optimizer"] = optimizer_state(self.optimizer, keep=keep)
            if self.critic is not None:
                state["critic"] = whole_weights(self.critic.trained_state(), keep=keep)
                state["critic_optimizer"] = optimizer_state(self.critic_optimizer, keep=keep)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another learner stood.

        Raises:
            ValueError: where one has a critic and the other none.
        """
        if ("critic" in state) != (self.critic is not None):
            raise ValueError(
                f"the state {'has a' if 'critic' in state else 'lacks the'} critic, but algorithm "
                f"{self.config.algorithm!r} {'needs one' if self.critic else 'has none'}; "
                "resume with the algorithm that the run began with"
            )
        self.updates = state["updates"]
        self.lr_scale = state["lr_scale"]
        load_optimizer_state(self.optimizer, state["optimizer"])
        if self.critic is not None:
            load_weights(self.critic, state["critic"])
            load_optimizer_state(self.critic_optimizer, state["critic_optimizer"])

    def rollback(self, model: Any, state: Mapping[str, Any] | None, *, lr_scale: float) -> None:
        """Go back to an earlier policy and state, but not to its place in the schedule.

        Args:
            model: the policy as it was, whole.
            state: as `state_dict` gave it; None for that of the beginning.
            lr_scale: factor on every learning rate from now on.
        """
        load_weights(self.policy, model.state_dict())
        updates = self.updates
        if state is not None:
            self.load_state_dict(state)
        else:
            self.optimizer.state.clear()
            if self.critic is not None:
                load_weights(self.critic, Critic.from_policy(model).trained_state())
                self.critic_optimizer.state.clear()
        self.updates, self.lr_scale = updates, lr_scale

    def _check_groups(self, groups: Sequence[Group]) -> None:
        if self.config.row.needs_groups and all(len(g.rollouts) < 2 for g in groups):
            raise ValueError(
                f"{self.config.algorithm} compares the rollouts of a group, but all {len(groups)} "
                "groups have fewer than 2; raise group_size or use algorithm 'reinforce_pp'"
            )

    def _learn(self, batch: Batch, targets: Targets, metrics: dict[str, float]) -> UpdateReport:
        """Every optimizer step of the update."""
        needs_all = (
            self.critic is not None or self.config.kl_in_loss or self.config.entropy_coef > 0
        )
        useful = set(range(len(batch)) if needs_all else targets.useful_rows(batch))
        metrics["tokens_computed"] = float(sum(int(batch.counts_B[row]) for row in useful))
        if self.critic is not None:
            metrics["explained_variance"] = explained_variance(targets)
        if not useful:
            return UpdateReport(metrics=metrics, skipped=True, reason="every advantage is zero")
        means, reason = StepMeans(), ""
        for rows in self._minibatches(len(batch)):
            computed = [row for row in rows if row in useful]
            if not computed:
                continue
            try:
                self._step(batch, targets, rows, computed, means)
            except _NonFiniteError as error:
                reason = str(error)
                break
        means = StepMeans.merged(self.distributed.all_gather(means, "count what they computed"))
        metrics |= {**means.metrics(), **targets.metrics}
        return UpdateReport(
            metrics=metrics,
            skipped=bool(reason),
            reason=reason,
            batch=batch if reason else None,
        )

    def _minibatches(self, num_rollouts: int) -> list[list[int]]:
        """Rollouts of each optimizer step; their order depends on the update's number alone."""
        steps = []
        for epoch in range(self.config.epochs):
            generator = torch.Generator().manual_seed(self.updates * 1009 + epoch)
            order = torch.randperm(num_rollouts, generator=generator)
            parts = order.tensor_split(min(self.config.minibatches, num_rollouts))
            steps.extend(part.tolist() for part in parts)
        return steps

    def _step(
        self,
        batch: Batch,
        targets: Targets,
        rows: Sequence[int],
        computed: Sequence[int],
        means: StepMeans,
    ) -> None:
        """One optimizer step on `rows`, of which only `computed` have a gradient."""
        members_A = torch.isin(batch.rows_A, torch.tensor(rows))
        weights_A = torch.zeros_like(targets.advantages_A)
        in_order = sorted(rows)
        weights_A[members_A] = token_weights(
            batch.counts_B[in_order], self.config.aggregation, divisor=self.loss_divisor
        )

        self._zero_grad()
        loss = torch.zeros(())
        passes = batch.micro_batches(
            self.optimizer_config.tokens_per_micro_batch,
            computed,
            share_prompts=self.optimizer_config.share_prompts,
            distributed=self.distributed,
        )
        for micro_batch in passes:
            loss = loss + self._backward(micro_batch, batch, targets, weights_A, means)
        self._apply(self.distributed.all_reduce(loss, "add up the loss"), means)

    def _backward(
        self,
        micro_batch: MicroBatch,
        batch: Batch,
        targets: Targets,
        weights_A: Tensor,
        means: StepMeans,
    ) -> Tensor:
        """Add a micro-batch's share of the gradient; returns its share of the loss."""
        scored = self._logprobs(self._policy, micro_batch)
        share = policy_share(scored, micro_batch, targets, weights_A, self.config)
        share.loss.backward()
        means.add(**share.parts)
        sampled_A = batch.sampled_logprobs_A[micro_batch.tokens_A]
        means.add_tokens(weights_A[micro_batch.tokens_A], scored.logprobs_A.cpu() - sampled_A)
        if self.critic is None:
            return share.loss.detach().cpu()
        values_A = self._values(micro_batch)
        critic = critic_share(values_A, micro_batch, targets, weights_A, self.config)
        critic.loss.backward()
        means.add(**critic.parts)
        return (share.loss.detach() + critic.loss.detach()).cpu()

    def _apply(self, loss: Tensor, means: StepMeans) -> None:
        """Clip and step, or refuse."""
        norms = {"grad_norm": self._clip(self.policy)}
        if self.critic is not None:
            norms["critic_grad_norm"] = self._clip(self.critic)
        means.add_step(**norms)
        numbers = {"loss": loss} | norms
        broken = [f"{name} is {float(n)}" for name, n in numbers.items() if not n.isfinite()]
        if broken:
            self._zero_grad()
            raise _NonFiniteError("; ".join(broken))
        self.optimizer.step()
        if self.critic is not None:
            self.critic_optimizer.step()

    def _clip(self, module: nn.Module) -> Tensor:
        limit = self.optimizer_config.max_grad_norm
        return whole(nn.utils.clip_grad_norm_(module.parameters(), limit))

    def _zero_grad(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.critic is not None:
            self.critic_optimizer.zero_grad(set_to_none=True)

    def _set_learning_rates(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.optimizer_config.learning_rate * factor
        if self.critic is not None:
            for group in self.critic_optimizer.param_groups:
                group["lr"] = self.config.critic_learning_rate * factor

    def _autocast(self) -> torch.autocast:
        enabled = self.optimizer_config.autocast
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _logprobs(self, model: LogprobModel, micro_batch: MicroBatch) -> TokenLogprobs:
        with self._autocast():
            return model(micro_batch.to(self.device))

    def _reference_logprobs(self, micro_batch: MicroBatch) -> Tensor:
        shared = self._reference is self._policy
        with without_adapter(self.policy) if shared else nullcontext():
            return self._logprobs(self._reference, micro_batch).logprobs_A

    def _values(self, micro_batch: MicroBatch) -> Tensor:
        assert self.critic is not None
        with self._autocast():
            return self.critic(micro_batch.to(self.device))
