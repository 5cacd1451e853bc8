"""Three steps of TRL's GRPOTrainer with the tiny policy; needs the extras `train` and `trl`.

Prints the mean reward of each step: for a policy that writes tags (`rollout_func`), then for one
that calls tools (`environment_factory`). Takes half a minute on a CPU.
"""

import os
import tempfile

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from agents.llm.policy.policy import load_policy
from agents.llm.trl import SearchRollouts, TrainingStep, episode_reward
from envs_registry.trl import SearchTools, trl_row

NOISE = {"start": 0.0, "end": 0.5, "total_steps": 200}
# "bare" is the prompt that the tiny policy was trained with.
ENVIRONMENT = {"id": "ZeroSearch-v0", "prompt": "bare", "max_turns": 4, "noise": NOISE}
CONFIG = {
    "max_steps": 3,
    "num_generations": 4,
    "per_device_train_batch_size": 16,
    "learning_rate": 1e-5,
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "report_to": "none",
    "save_strategy": "no",
}
# The tiny policy writes tags. These two make tags of tool calls and the reverse; a model that was
# trained to call tools has a chat template, and TRL knows how to read its calls.
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'tool' %}"
    "{{ '\n\n' + message.content + '\n\n' }}{% elif message.tool_calls %}"
    "{% for call in message.tool_calls %}<{{ call.function.name }}>"
    "{{ call.function.arguments | tojson }}</{{ call.function.name }}>{% endfor %}"
    "{% else %}{{ message.content }}{% endif %}{% endfor %}"
)
CALL = {"name": "{name}", "arguments": {"text": "{content}"}}
RESPONSES = {
    "defaults": {"role": "assistant"},
    "start_anchor_pattern": r".*\Z",
    "fields": {
        "tool_calls": {
            "open_pattern": "<(?P<name>search|answer)>",
            "close_pattern": "</(?:search|answer)>",
            "repeats": True,
            "transform": {"type": "function", "function": CALL},
        },
        "content": {},
    },
}


class Tools(SearchTools):
    environment = ENVIRONMENT

    # The parser of tags gives every argument the same name.
    def search(self, text: str) -> str:
        """Search for documents.

        Args:
            text: What to look for, in a few words.
        """
        return super().search(text)


def train(way: str) -> GRPOTrainer:
    """Train a fresh tiny policy for three steps and return the trainer."""
    policy = load_policy("tiny")
    if way == "rollout_func":
        # One turn of the tiny policy is short.
        rollouts = SearchRollouts(ENVIRONMENT, max_new_tokens=64)
        settings = {"rollout_func": rollouts, "reward_funcs": episode_reward}
    else:
        tags = policy.tokenizer.convert_tokens_to_ids(["</search>", "</answer>"])
        policy.model.generation_config.eos_token_id = [policy.tokenizer.eos_token_id, *tags]
        policy.tokenizer.chat_template = TEMPLATE
        policy.tokenizer.response_template = RESPONSES
        settings = {"environment_factory": Tools, "callbacks": [TrainingStep(Tools)]}
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=policy.model,
            processing_class=policy.tokenizer,
            args=GRPOConfig(output_dir=folder, max_tool_calling_iterations=4, **CONFIG),
            train_dataset=Dataset.from_list([trl_row(index) for index in range(64)]),
            **settings,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer


if __name__ == "__main__":
    for way in ("rollout_func", "environment_factory"):
        for step in train(way).state.log_history[:3]:
            print(f"{way:<20} step {step['step']}   reward {step['reward']:.2f}")
