"""Whole steps of TRL's GRPOTrainer in our environment; prints JSON.

    python trl_step.py JOB.json

The environment reaches the trainer through `rollout_func`, which plays as its own tool loop does:
all episodes write a turn together with `model.generate`, over the whole conversation so far. It is
spared what it does not need: without vLLM the trainer never looks at sampled log-probabilities, so
none are computed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from process_cost import Laps, peak_bytes
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.models import unwrap_model_for_generation
from trl_update import QUIET, given_reward

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.peers.search_episodes import make_environment, options_of

_CLOSING_TAGS = ["</search>", "</answer>"]


class Episodes:
    """A `rollout_func` that plays the environment, and counts what it samples."""

    def __init__(self, job: Mapping[str, Any], tokenizer: Any, prompt: str | None) -> None:
        self.job, self.tokenizer = job, tokenizer
        self.env = make_environment(job, prompt)
        self.sampled: list[int] = []
        self.rewards: list[float] = []

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[Any]]:
        questions = [int(prompt) for prompt in prompts]
        observation, _ = self.env.reset(seed=len(self.sampled), options=options_of(questions))
        prompt_ids = [self._encode_prompt(message) for message in observation["message"]]
        completion_ids: list[list[int]] = [[] for _ in prompts]
        masks: list[list[int]] = [[] for _ in prompts]
        rewards = [0.0] * len(prompts)
        going = list(range(len(prompts)))
        while going:
            sequences = [prompt_ids[place] + completion_ids[place] for place in going]
            actions = [""] * len(prompts)
            for place, ids in zip(going, self._write(sequences, trainer), strict=True):
                completion_ids[place] += ids
                masks[place] += [1] * len(ids)
                actions[place] = self.tokenizer.decode(ids, skip_special_tokens=True)
            observation, gained, terminated, truncated, _ = self.env.step(actions)
            for place in going:
                rewards[place] += float(gained[place])
            going = [place for place in going if not (terminated[place] or truncated[place])]
            for place in going:
                heard = self._encode(observation["message"][place])
                completion_ids[place] += heard
                masks[place] += [0] * len(heard)
        self.sampled.append(sum(map(sum, masks)))
        self.rewards.append(sum(rewards) / len(rewards))
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": completion_ids,
            "env_mask": masks,
            "logprobs": [[0.0] * len(ids) for ids in completion_ids],
            "reward": rewards,
        }

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _encode_prompt(self, message: str) -> list[int]:
        if not self.tokenizer.chat_template:
            return self._encode(message)
        asked = [{"role": "user", "content": message}]
        text = self.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        return self._encode(text)

    def _write(self, conversations: Sequence[Sequence[int]], trainer: Any) -> list[list[int]]:
        """The next turn of each conversation."""
        rows = {"input_ids": [list(ids) for ids in conversations]}
        padded = self.tokenizer.pad(rows, padding_side="left", return_tensors="pt")
        with (
            unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model,
            torch.no_grad(),
        ):
            ids_BT = model.generate(
                **padded,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=self.job["max_new_tokens"],
                stop_strings=_CLOSING_TAGS,
                tokenizer=self.tokenizer,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        length = padded["input_ids"].shape[1]
        return [self._until_the_end(row) for row in ids_BT[:, length:].tolist()]

    def _until_the_end(self, ids: list[int]) -> list[int]:
        """A turn without what fills it up; its EOS belongs to it unless a tag ended it."""
        endings = {self.tokenizer.eos_token_id, self.tokenizer.pad_token_id}
        own = next((i for i, token in enumerate(ids) if token in endings), len(ids))
        text = self.tokenizer.decode(ids[:own])
        return ids[:own] if any(tag in text for tag in _CLOSING_TAGS) else ids[: own + 1]


class Watch(TrainerCallback):
    """Takes down what every step cost."""

    def __init__(self) -> None:
        self.laps = Laps()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.laps.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.laps.end()


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    episodes = Episodes(job, tokenizer, getattr(model.config, "zerosearch_env", {}).get("prompt"))
    watch = Watch()
    questions = [str(index) for index in range(job["steps"] * job["questions"])]
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            args=GRPOConfig(output_dir=folder, max_steps=job["steps"], **QUIET, **job["config"]),
            reward_funcs=[given_reward],
            train_dataset=Dataset.from_dict({"prompt": questions}),
            processing_class=tokenizer,
            rollout_func=episodes,
            callbacks=[watch],
        )
        trainer.train()
    print(
        json.dumps(
            {
                "cpu_s": watch.laps.cpu_s,
                "wall_s": watch.laps.wall_s,
                "peak_bytes": peak_bytes(),
                "sampled": episodes.sampled,
                "rewards": episodes.rewards,
            }
        )
    )


if __name__ == "__main__":
    main()
