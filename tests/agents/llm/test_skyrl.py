"""SkyRL's generator returns the same tokens as `collect_rollouts`; its engine is scripted."""

import asyncio
import sys
from pathlib import Path

import pytest

pytest.importorskip("skyrl.train", reason="needs SkyRL 0.4, which needs Python 3.12")

from gymnasium.vector import AutoresetMode
from skyrl.train.config import GeneratorConfig, SkyRLGymConfig
from skyrl.train.generators.utils import prepare_generator_input
from skyrl.train.utils import validate_cfg
from skyrl_gym.envs import deregister

from agents.llm.generators.sampling import Sampling
from agents.llm.generators.scripted import ScriptedGenerator
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.skyrl import MAX_TRIES, ZeroSearchGenerator, load_config, main
from envs_registry.shared_environment import SharedEnvironment
from envs_registry.skyrl import ENV_CLASS, EpisodeFailed, register_environment
from envs_registry.verl import verl_row
from tests.agents.llm.conftest import _make_policy
from tests.envs_registry.documented import commands
from tests.paths import ROOT
from zs_env.config import make_vector_env

SETTINGS = {"max_turns": 3, "num_documents": 2, "prompt": "bare"}
WORLD = {
    "id": "ZeroSearch-v0",
    **SETTINGS,
    "noise": {"start": 0.0, "end": 1.0, "total_steps": 10},
}
BROKEN = {"kind": "http", "url": "http://127.0.0.1:9/retrieve", "max_tries": 1, "timeout_s": 5.0}
MAX_NEW_TOKENS = 40
QUESTIONS = (0, 3)


def _search_then_answer(text):
    return "<answer>a b</answer>" if "<information>" in text else "<search>the rival</search>"


def _always_search(text):
    return "<search>the rival</search>"


def _malformed_then_answer(text):
    return "<answer>a</answer>" if "no action" in text.lower() else "I know nothing."


class ScriptedEngine:
    """SkyRL's inference engine, with texts of a function in place of a model."""

    def __init__(self, codec, write):
        self.codec, self.write, self.finished = codec, write, []

    async def generate(self, engine_input, model=None):
        (prompt,) = engine_input["prompt_token_ids"]
        text = self.write(self.codec.decode(prompt))
        token_ids = list(self.codec.encode_environment(text))
        return {
            "responses": [text],
            "response_ids": [token_ids],
            "stop_reasons": ["stop"],
            "response_logprobs": [[0.0] * len(token_ids)],
        }

    async def finish_session(self, session):
        self.finished.append(session)


@pytest.fixture(scope="module")
def policy():
    policy = _make_policy(context=4096)
    policy.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    return policy


@pytest.fixture(autouse=True)
def registered():
    broken = {"id": "ZeroSearch-v0", **SETTINGS, "engine": BROKEN, "noise": 0.0}
    register_environment({"train": WORLD, "broken": broken})
    yield
    deregister(ENV_CLASS)


def _generate(policy, write, *, name="train", step=1, seed=7):
    env = SharedEnvironment(WORLD).make()
    rows = [verl_row(env, index, data_source=name, seed=seed) for index in QUESTIONS]
    prompts = [
        {"prompt": row["prompt"], "env_class": None, "env_extras": row, "uid": str(index)}
        for index, row in zip(QUESTIONS, rows, strict=True)
    ]
    batch, _ = prepare_generator_input(prompts, 2, None, ENV_CLASS, "train", step)
    config = GeneratorConfig(max_turns=3, max_input_length=3000, use_conversation_multi_turn=False)
    engine = ScriptedEngine(policy.codec, write)
    generator = ZeroSearchGenerator(config, SkyRLGymConfig(), engine, policy.tokenizer)
    return asyncio.run(generator.generate(batch, disable_tqdm=True))


@pytest.mark.parametrize("write", [_search_then_answer, _always_search, _malformed_then_answer])
def test_ids_masks_and_rewards_equal_those_of_collect_rollouts(policy, write):
    output = _generate(policy, write)
    settings = {"questions": {"kind": "world"}, "engine": {"kind": "world"}, **SETTINGS}
    groups = collect_rollouts(
        make_vector_env(4, **settings, autoreset_mode=AutoresetMode.DISABLED),
        policy,
        ScriptedGenerator(policy, write),
        question_indices=QUESTIONS,
        seeds=[7, 7],
        group_size=2,
        sampling=Sampling(max_new_tokens=MAX_NEW_TOKENS),
        share_group_seed=False,
    )
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    assert len(output["response_ids"]) == len(rollouts) == 4
    end = policy.tokenizer.eos_token_id
    for number, rollout in enumerate(rollouts):
        start = len(rollout.segments[0].token_ids)
        assert tuple(output["prompt_token_ids"][number]) == rollout.token_ids[:start]
        tokens = zip(rollout.token_ids[start:], rollout.action_mask[start:], strict=True)
        # SkyRL removes the EOS of a turn, and appends one with a mask of 1 to the episode.
        expected = [(token, int(acted)) for token, acted in tokens if token != end] + [(end, 1)]
        ids, mask = output["response_ids"][number], output["loss_masks"][number]
        assert list(zip(ids, mask, strict=True)) == expected
        assert sum(output["rewards"][number]) == pytest.approx(rollout.reward)


@pytest.mark.parametrize(("step", "noise"), [(1, 0.0), (11, 1.0)])
def test_the_global_step_sets_the_noise(policy, step, noise):
    metrics = _generate(policy, _always_search, step=step)["env_metrics"]
    assert [one["noise_probability"] for one in metrics] == [noise] * 4


def test_a_failed_episode_is_played_again(policy, monkeypatch):
    failures = []
    original = ZeroSearchGenerator.__mro__[1].agent_loop

    async def fail_once(self, *arguments, trajectory_id, **settings):
        if trajectory_id.to_string() not in failures:
            failures.append(trajectory_id.to_string())
            raise EpisodeFailed("down")
        return await original(self, *arguments, trajectory_id=trajectory_id, **settings)

    monkeypatch.setattr(ZeroSearchGenerator.__mro__[1], "agent_loop", fail_once)
    output = _generate(policy, _search_then_answer)
    assert sorted(failures) == ["0_0", "0_1", "3_0", "3_1"]
    assert len(output["response_ids"]) == 4


def test_an_engine_that_always_fails_ends_the_run(policy, caplog):
    with pytest.raises(EpisodeFailed):
        _generate(policy, _search_then_answer, name="broken")
    assert "played again" in caplog.text
    assert MAX_TRIES > 1


def test_skyrl_accepts_the_example():
    path: Path = ROOT / "examples" / "skyrl" / "search.yaml"
    config, settings = load_config([str(path), "trainer.max_training_steps=9"])
    validate_cfg(config)
    assert config.trainer.max_training_steps == 9
    assert config.environment.env_class == ENV_CLASS
    assert set(settings["environments"]) == {"train", "heldout"}
    for spec in settings["environments"].values():
        assert spec["max_turns"] == config.generator.max_turns


@pytest.mark.parametrize("command", commands("SkyRL"), ids=["README", "docs"])
def test_the_documented_commands_start_skyrl(command, monkeypatch):
    """Up to the start of Ray, with the configuration that SkyRL composed and validated."""
    started = []

    def stop(config):
        started.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("agents.llm.skyrl.initialize_ray", stop)
    assert command[:3] == ["python", "-m", "agents.llm.skyrl"]
    monkeypatch.setattr(sys, "argv", command[2:])
    monkeypatch.chdir(ROOT)
    with pytest.raises(KeyboardInterrupt):
        main()
    (config,) = started
    model = "trainer.policy.model.path=" + config.trainer.policy.model.path
    assert command[-1] == model
