"""Players for both interfaces of TRL: `environment_factory` and `rollout_func`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.adapters.episodes import Play, Played, Script
from benchmarks.adapters.tokens import MAX_TOKENS
from envs_registry.trl import SearchOpenTools, SearchTools, trl_row


@contextmanager
def trl_player() -> Iterator[Play]:
    """Play through the tools of an `environment_factory`, called as TRL's tool loop does."""
    instances: dict[str, SearchTools] = {}

    def play(script: Script) -> Played:
        if script.spec not in instances:
            base = SearchOpenTools if "open" in script.tools else SearchTools
            attributes = {"environment": script.environment, "share_group_seed": True}
            instances[script.spec] = type("Tools", (base,), attributes)()
        tools = instances[script.spec]
        messages = [tools.reset(**_row(script))]
        messages += [getattr(tools, name)(**arguments) for name, arguments in script.calls]
        reward = tools.get_reward()
        return Played(failed=reward is None, messages=tuple(messages), reward=reward)

    yield play


def trl_reset(script: Script) -> dict[str, Any]:
    """Return the seed of the row as that of its group."""
    return {"options": {**script.options, "group_seed": script.seed}}


@contextmanager
def trl_rollouts_player() -> Iterator[Play]:
    """Play through the `rollout_func` of a `GRPOTrainer`, whose columns TRL reads.

    A scripted generator takes the place of the sampling.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]

    from agents.llm.generators.scripted import ScriptedGenerator
    from agents.llm.policy.policy import load_policy
    from agents.llm.trl import SearchRollouts, episode_reward

    class ScriptedRollouts(SearchRollouts):
        texts: Iterator[str] = iter(())

        def _prepare(self, num_episodes: int, trainer: Any) -> Any:
            vector_env, generator = super()._prepare(num_episodes, trainer)
            scripted = ScriptedGenerator(generator.policy, lambda _: next(self.texts))
            scripted.policy, scripted.max_context = generator.policy, MAX_TOKENS
            return vector_env, scripted

    rollouts: dict[str, ScriptedRollouts] = {}
    policy = load_policy("tiny")
    with TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            policy.model,
            episode_reward,
            GRPOConfig(
                output_dir=folder,
                num_generations=2,
                num_generations_eval=1,
                per_device_train_batch_size=2,
                use_cpu=True,
                bf16=False,
                report_to="none",
            ),
            Dataset.from_list([trl_row(index) for index in range(2)]),
            processing_class=policy.tokenizer,
            rollout_func=ScriptedRollouts({"id": "ZeroSearch-v0"}),
        )
        trainer.model.eval()  # one episode for each prompt

        def play(script: Script) -> Played:
            if script.spec not in rollouts:
                rollouts[script.spec] = ScriptedRollouts(
                    script.environment, max_new_tokens=MAX_TOKENS
                )
            trainer.rollout_func = rollouts[script.spec]
            trainer.rollout_func.texts = iter(script.texts)
            (prompt,), (completion,), (mask,), *_, fields, _, _ = trainer._generate(
                [_row(script)["prompt"]]
            )
            (reward,) = episode_reward(**fields)
            if reward is None:
                assert not any(mask), "tokens of a failed episode are trained"
                return Played(failed=True)
            return Played(
                failed=False,
                reward=reward,
                token_ids=(*prompt, *completion),
                mask=(*[False] * len(prompt), *map(bool, mask)),
            )

        yield play


def _row(script: Script) -> dict[str, Any]:
    return trl_row(
        script.question_index, noise_probability=script.noise_probability, seed=script.seed
    )
