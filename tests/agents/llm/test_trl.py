"""Three real steps of TRL's GRPOTrainer, both ways, and the same episodes as our own rollouts."""

import re
from collections import defaultdict
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import groupby
from pkgutil import resolve_name

import pytest
import torch
from gymnasium.vector import AutoresetMode

from agents.llm.generators.base import Generation, Generator, never
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import load_policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.trl import TrainingStep
from envs_registry.trl import read_prompt
from tests.envs_registry.documented import blocks, readme_code
from tests.paths import ROOT
from zs_env import SearchError, SearchPage
from zs_env.config import make_vector_env

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("trl") is None, reason="trl is not installed; pip install 'zerosearch-gym[trl]'"
    ),
    # TRL and transformers warn about their own settings.
    pytest.mark.filterwarnings("default"),
]
GROUP = 4


@pytest.fixture(scope="module")
def example():
    spec = spec_from_file_location("trl_grpo", ROOT / "examples" / "trl_grpo.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recorded(monkeypatch):
    """Step, rows and trained batch of every round of generation."""
    from trl import GRPOTrainer

    rounds = []
    generate = GRPOTrainer._generate_and_score_completions

    def record(self, inputs):
        batch = generate(self, inputs)
        rounds.append((self.state.global_step, [row["prompt"] for row in inputs], batch))
        return batch

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", record)
    return rounds


class Replay(Generator):
    """Generates given turns, then nothing more."""

    max_context = 2048

    def __init__(self, turns_by_session):
        self.turns, self.ended = turns_by_session, {}

    def submit(self, requests, sampling):
        for request in requests:
            turns = self.turns[request.session]
            ids = turns.pop(0) if turns else ()
            self.ended[request.session] = Generation(
                token_ids=ids, logprobs=(0.0,) * len(ids), stop_reason="tag" if ids else "context"
            )

    def poll(self, should_yield=never):
        ended, self.ended = self.ended, {}
        return ended

    def release(self, sessions):
        pass


def _sequences(batch):
    """Ids of the prompt, and ids and mask of the completion of each row, without padding."""
    for row in range(len(batch["prompt_ids"])):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        real = batch["completion_mask"][row].bool()
        completion, mask = batch["completion_ids"][row][real], batch["tool_mask"][row][real]
        yield prompt.tolist(), completion.tolist(), mask.tolist()


def _turns(completion, mask):
    pairs = groupby(zip(completion, mask, strict=True), key=lambda pair: pair[1])
    return [tuple(token for token, _ in run) for acted, run in pairs if acted]


def _own_rollouts(step, prompts, generator, policy, environment, *, share_group_seed=False):
    """Our rollouts of the rows of a round."""
    settings = {key: value for key, value in environment.items() if key != "id"}
    rows = [read_prompt(prompt, seed=0, step=step) for prompt in prompts[::GROUP]]
    env = make_vector_env(len(prompts), **settings, autoreset_mode=AutoresetMode.DISABLED)
    groups = collect_rollouts(
        env,
        policy,
        generator,
        question_indices=[row[0] for row in rows],
        seeds=[row[2] for row in rows],
        group_size=GROUP,
        sampling=Sampling(max_new_tokens=64),
        training_step=step,
        share_group_seed=share_group_seed,
    )
    return [rollout for group in groups for rollout in group.rollouts]


def _assert_advantages(batch, rewards):
    """The advantages follow from our rewards; episodes without a reward have none."""
    rewards = torch.tensor([float("nan") if x is None else x for x in rewards]).view(-1, GROUP)
    for own, theirs in zip(rewards, batch["advantages"].view(-1, GROUP), strict=True):
        scored = ~own.isnan()
        known = own[scored]
        wanted = torch.zeros(GROUP)
        if len(known) > 1:
            wanted[scored] = (known - known.mean()) / (known.std() + 1e-4)
        torch.testing.assert_close(theirs, wanted)


def test_rollout_func_trains_the_ids_and_rewards_of_our_rollouts(example, recorded):
    policy = load_policy("tiny")
    trainer = example.train("rollout_func")
    assert trainer.state.global_step == len(recorded) == 3
    for step, (at, prompts, batch) in enumerate(recorded):
        assert at == step
        sequences = list(_sequences(batch))
        # The first step samples from the weights that the package holds.
        replay = Replay({i: _turns(ids, mask) for i, (_, ids, mask) in enumerate(sequences)})
        generator = replay if step else TransformersGenerator(policy)
        rollouts = _own_rollouts(step, prompts, generator, policy, example.ENVIRONMENT)
        for (prompt, completion, mask), rollout in zip(sequences, rollouts, strict=True):
            assert tuple(prompt + completion) == rollout.token_ids
            assert tuple(map(bool, [0] * len(prompt) + mask)) == rollout.action_mask
            assert rollout.token_mismatch == 0
        rewards = [rollout.reward for rollout in rollouts]
        assert trainer.state.log_history[step]["reward"] == pytest.approx(sum(rewards) / 16)
        _assert_advantages(batch, rewards)


def test_environment_factory_trains_the_ids_and_rewards_of_our_rollouts(
    example, recorded, monkeypatch
):
    """After the end of an episode TRL's model may write on."""
    monkeypatch.setattr(example.Tools, "share_group_seed", True)
    # The same seed of a group as that of the tools.
    seeds = lambda seed, size: [(seed, member, seed) for member in range(size)]  # noqa: E731
    monkeypatch.setattr("agents.llm.rollout.collect.group_seeds", seeds)
    policy = load_policy("tiny")
    trainer = example.train("environment_factory")
    assert trainer.state.global_step == len(recorded) == 3
    assert example.Tools.training_step == 2
    kinds = defaultdict(int)
    for step, (_, prompts, batch) in enumerate(recorded):
        sequences = list(_sequences(batch))
        replay = Replay({i: _turns(ids, mask) for i, (_, ids, mask) in enumerate(sequences)})
        rollouts = _own_rollouts(
            step, prompts, replay, policy, example.ENVIRONMENT, share_group_seed=True
        )
        for (prompt, completion, mask), rollout in zip(sequences, rollouts, strict=True):
            if any("<" in getattr(turn.action, "query", "") for turn in rollout.transcript.turns):
                continue  # The argument of a tool call is sanitized, so its page is another one.
            length = len(rollout.token_ids)
            assert tuple(prompt + completion)[:length] == rollout.token_ids
            assert tuple(map(bool, [0] * len(prompt) + mask))[:length] == rollout.action_mask
            kinds[rollout.transcript.reason, rollout.transcript.num_searches > 0] += 1
        rewards = [rollout.reward for rollout in rollouts]
        assert trainer.state.log_history[step]["reward"] == pytest.approx(sum(rewards) / 16)
        _assert_advantages(batch, rewards)
    assert sum(kinds.values()) > 40
    assert kinds["answer", True] > 24


class Flaky:
    """Fails at the second, fourth, ... request."""

    in_process = True

    def __init__(self):
        self.count = 0

    def search(self, requests):
        return [self._answer() for _ in requests]

    def _answer(self):
        self.count += 1
        return SearchPage(()) if self.count % 2 else SearchError("no answer")


def test_failed_episodes_are_not_trained_and_do_not_count(example, recorded, monkeypatch, caplog):
    broken = {"id": "ZeroSearch-v0", "prompt": "bare", "max_turns": 2, "engine": Flaky()}
    monkeypatch.setattr(example, "ENVIRONMENT", broken)
    monkeypatch.setitem(example.CONFIG, "max_steps", 1)
    trainer = example.train("rollout_func")
    rollouts = trainer.rollout_func.rollouts
    failed = [rollout.failed for rollout in rollouts]
    assert caplog.text.count("not trained: SearchError: no answer") == sum(failed)
    assert 0 < sum(failed) < len(failed)
    ((_, _, batch),) = recorded
    for (_, _, mask), rollout in zip(_sequences(batch), rollouts, strict=True):
        assert (sum(mask) == 0) is rollout.failed
    rewards = [None if rollout.failed else rollout.reward for rollout in rollouts]
    _assert_advantages(batch, rewards)
    known = [reward for reward in rewards if reward is not None]
    assert trainer.state.log_history[0]["reward"] == pytest.approx(sum(known) / len(known))


def test_a_setting_that_our_generator_lacks_is_an_error(example, monkeypatch):
    monkeypatch.setitem(example.CONFIG, "top_p", 0.9)
    with pytest.raises(ValueError, match=r"top_p=0\.9"):
        example.train("rollout_func")


def test_the_callback_sets_the_step_of_its_own_class(example):
    class Other(example.Tools):
        pass

    class State:
        global_step = 7

    TrainingStep(Other).on_step_begin(None, State(), None)
    assert Other.training_step == 7
    assert example.Tools.training_step != 7


def test_the_names_in_readme_exist():
    names = [code for code in readme_code("TRL") if code.startswith(("agents.", "envs_registry."))]
    assert [resolve_name(name).__name__ for name in names] == ["SearchTools", "SearchRollouts"]


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_page_train(number, tmp_path):
    """With the tiny policy in place of a model of the hub; it is given Qwen3's chat template."""
    from trl.chat_template_utils import qwen3_chat_template

    policy = load_policy("tiny")
    if number == 1:
        policy.tokenizer.chat_template = qwen3_chat_template
    policy.save(tmp_path / "model")
    block = blocks("TRL", "python")[number]
    block = re.sub(r'"Qwen/[^"]*"', repr(str(tmp_path / "model")), block)
    small = {
        **{"num_generations": 2, "per_device_train_batch_size": 2, "max_steps": 1},
        **{"max_completion_length": 8, "use_cpu": True, "bf16": False, "report_to": "none"},
        **{"save_strategy": "no", "output_dir": str(tmp_path / "output")},
    }
    block = block.replace("num_generations=8", f"**{small!r}")
    names = {"__name__": "page"}
    exec(block, names)
    names["trainer"].train()
    assert names["trainer"].state.global_step == 1
