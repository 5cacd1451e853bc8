"""The agent loop returns to verl's workers the same tokens as `collect_rollouts`.

Needs verl: `test_agent_loop.py` runs this file in an environment that has it. The server is
scripted; like a real one, it may generate past the end of a turn.
"""

import asyncio
import copy
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import transfer_queue
import yaml
from gymnasium.vector import AutoresetMode
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import OmegaConf
from tensordict import NonTensorData, NonTensorStack, TensorDict
from verl import DataProto
from verl.experimental.agent_loop import AgentLoopWorker
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ
from verl.utils.config import validate_config
from verl.workers.rollout.replica import TokenOutput

from agents.cli.main import main
from agents.llm.generators.sampling import Sampling
from agents.llm.generators.scripted import ScriptedGenerator
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.verl.agent_loop import _tools
from agents.llm.verl.config import check_config
from envs_registry.shared_environment import SharedEnvironment
from envs_registry.verl import AGENT_NAME, verl_row
from tests.envs_registry.broken_judge import REWARD
from tests.envs_registry.documented import commands
from tests.paths import ROOT
from zs_env.config import make_vector_env

LONG = "It is <eos> something, and on it goes. " * 4
EXAMPLES = ROOT / "examples" / "verl"
SETTINGS = {
    "questions": {"kind": "file", "path": "questions.jsonl"},
    "engine": {
        "kind": "scripted",
        "script": {
            "what": ["It is STOPHERE something.", "<answer>a0</answer>"],
            "long": [LONG, LONG],
        },
        "default": ["Nothing."],
    },
    "num_documents": 2,
    "max_turns": 3,
    "prompt": "bare",
}
# No server listens on this port.
BROKEN = {"kind": "http", "url": "http://127.0.0.1:9/retrieve", "max_tries": 1, "timeout_s": 5.0}
SEED = 11
MAX_NEW_TOKENS = 40


def _search_then_answer(text):
    number = re.search(r"What is (\d)", text)[1]
    if "<information>" not in text:
        return "<search>what</search> tail"
    return f"<think>so</think><answer>a{number}</answer> and more"


def _malformed_then_answer(text):
    return "<answer>a2</answer>" if "no action" in text.lower() else "I know nothing."


def _end_at_once(text):
    return ""


def _merged_tags(text):
    return "<search>what</search>\nthen" if "<information>" not in text else "<answer>a</answer>x"


def _always_search(text):
    return "<search>long</search>"


def _look_at_pages(text):
    return "<search>page</search>" if "<information>" not in text else "<answer>a</answer>"


def _never_stop(text):
    return "and " * 200


CASES = {
    "search, then answer": _search_then_answer,
    "malformed text": _malformed_then_answer,
    "eos at once": _end_at_once,
    "a token with more than the tag": _merged_tags,
    "the turn limit": _always_search,
    "a turn without an end": _never_stop,
}


class ScriptedServer:
    """Generates up to `max_tokens`, like a server without stop strings."""

    def __init__(self, codec, write, logprob=0.0, stop_reason="completed"):
        self.codec, self.write = codec, write
        self.logprob, self.stop_reason, self.version = logprob, stop_reason, 4
        self.calls = []

    async def generate(self, request_id, *, prompt_ids, sampling_params, priority=0, **_):
        self.calls.append((request_id, list(prompt_ids), dict(sampling_params)))
        await asyncio.sleep(0)
        written = self.codec.encode_environment(self.write(self.codec.decode(prompt_ids)))
        written += tuple(sorted(self.codec.stop_token_ids))[:1]
        token_ids = list(written)[: sampling_params["max_tokens"]]
        return TokenOutput(
            token_ids=token_ids,
            log_probs=None if self.logprob is None else [self.logprob] * len(token_ids),
            stop_reason=self.stop_reason,
            extra_fields={"min_global_steps": self.version, "max_global_steps": self.version},
        )


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [
        {
            "id": f"q{i}",
            "question": f"What is {i}?",
            "answers": [f"a{i}"],
            "paragraphs": [
                {"title": f"Page {k}", "text": f"The page {k} of {i}.", "is_gold": k < 4}
                for k in range(8)
            ],
        }
        for i in range(5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SETTINGS | {"questions": {"kind": "file", "path": str(path)}}


@pytest.fixture(scope="module")
def policy(tmp_path_factory, request) -> Policy:
    """A policy loaded from a folder; its tokenizer merges `>` with the next character."""
    from tests.agents.llm.conftest import _make_policy

    folder = tmp_path_factory.mktemp("policy")
    policy = _make_policy(context=4096)
    policy.tokenizer.add_tokens(["h>\n", "r>x", "</sear"])
    # A control token whose text also occurs in a page.
    policy.tokenizer.add_tokens(["STOPHERE"], special_tokens=True)
    policy.tokenizer.chat_template = (
        "{% for m in messages %}<bos>{{ m['role'] }}: {{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    policy.save(folder)
    return load_policy(folder)


@pytest.fixture(scope="module")
def verl_config(policy):
    """The configuration of verl; composing it takes longer than most tests."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_trainer",
            [
                f"actor_rollout_ref.model.path={policy.name}",
                "actor_rollout_ref.rollout.name=vllm",
                "actor_rollout_ref.rollout.n=2",
                "data.max_prompt_length=200",
            ],
        )


@pytest.fixture
def make_config(verl_config, settings, tmp_path):
    """The configuration of verl with our loop and lengths for the tiny model."""

    def make(*, environment=None, response_length=1200, loop=None):
        loops = [
            {
                "name": "zerosearch",
                "_target_": "agents.llm.verl.agent_loop.ZeroSearchAgentLoop",
                "environments": {"train": {"id": "ZeroSearch/File-v0", **settings}}
                if environment is None
                else {"train": {"id": "ZeroSearch/File-v0", **settings, **environment}},
                "max_new_tokens": MAX_NEW_TOKENS,
                **(loop or {}),
            }
        ]
        path = tmp_path / "loops.yaml"
        path.write_text(yaml.safe_dump(loops))
        config = copy.deepcopy(verl_config)
        config.actor_rollout_ref.rollout.agent.agent_loop_config_path = str(path)
        config.data.max_response_length = response_length
        return config

    return make


@pytest.fixture
def rows(settings):
    """Rows of the questions 0, 3 and 1, each with a seed."""
    env = SharedEnvironment({"id": "ZeroSearch/File-v0", **settings}).make()
    return [verl_row(env, i, data_source="train", seed=SEED + i) for i in (0, 3, 1)]


def _fields(row):
    """The fields of a row as verl's dataset and trainer pass them."""
    return {**row, "raw_prompt": row["prompt"], "index": row["extra_info"]["index"]}


async def _play(worker, row, session_id, **fields):
    """Run one episode as the worker does, and return the loop's output before padding."""
    given = []

    async def keep(output, validate, **_):
        given.append(output)

    worker._agent_loop_postprocess = keep
    trajectory = {"step": 1, "sample_index": 0, "rollout_n": 0, "validate": False}
    sampling = {"temperature": 1.0, "logprobs": True}
    fields = {"session_id": session_id, "global_steps": 1, **_fields(row), **fields}
    await worker._run_agent_loop(sampling, trajectory, trace=False, **fields)
    return given[0]


def _outputs(config, server, rows, group_size=2, **fields):
    worker = AgentLoopWorker(config, server)

    async def play_all():
        tasks = [
            _play(AgentLoopWorkerView(worker), row, k, **fields)
            for row in rows
            for k in range(group_size)
        ]
        return await asyncio.gather(*tasks)

    return asyncio.run(play_all())


class AgentLoopWorkerView:
    """A worker that returns the outputs of its loops without padding."""

    def __init__(self, worker):
        self.__dict__.update(worker.__dict__)

    _run_agent_loop = AgentLoopWorker._run_agent_loop


def _rollouts(settings, policy, write, rows, *, group_size=2, max_context=None, **options):
    env = make_vector_env(4, **settings, autoreset_mode=AutoresetMode.DISABLED)
    if max_context is not None:
        policy = Policy(policy.model, policy.tokenizer, policy.name)
        policy.__dict__["max_context"] = max_context
    groups = collect_rollouts(
        env,
        policy,
        ScriptedGenerator(policy, write),
        question_indices=[row["extra_info"]["index"] for row in rows],
        seeds=[row["extra_info"]["seed"] for row in rows],
        group_size=group_size,
        sampling=Sampling(max_new_tokens=MAX_NEW_TOKENS),
        training_step=0,
        **options,
    )
    return [rollout for group in groups for rollout in group.rollouts]


def _assert_same(output, rollout):
    start = len(rollout.segments[0].token_ids)
    assert tuple(output.prompt_ids) == rollout.token_ids[:start]
    assert tuple(output.response_ids) == rollout.token_ids[start:]
    assert tuple(map(bool, output.response_mask)) == rollout.action_mask[start:]
    assert tuple(output.response_logprobs) == rollout.logprobs[start:]
    assert output.reward_score == rollout.reward
    assert output.num_turns == len(rollout.segments)
    assert output.response_mask[-1] == 1, "verl puts the reward on the last token"


@pytest.mark.parametrize("case", CASES)
def test_ids_masks_and_rewards_equal_those_of_collect_rollouts(
    case, make_config, policy, settings, rows
):
    write = CASES[case]
    outputs = _outputs(make_config(), ScriptedServer(policy.codec, write), rows)
    rollouts = _rollouts(settings, policy, write, rows)
    assert len(outputs) == len(rollouts) == 6
    for output, rollout in zip(outputs, rollouts, strict=True):
        _assert_same(output, rollout)
    if case == "search, then answer":
        assert [output.reward_score for output in outputs] == [1.0] * 6
        assert "is STOPHERE some" in policy.codec.decode(outputs[0].response_ids)
        control = policy.tokenizer.convert_tokens_to_ids("STOPHERE")
        assert all(control not in output.response_ids for output in outputs)
    if case == "a token with more than the tag":
        turn = next(s for s in rollouts[0].segments if s.logprobs)
        assert policy.codec.decode(turn.token_ids).endswith("</search>\n")


@pytest.mark.parametrize("response_length", [7, 30, 41, 200, 330, 420])
@pytest.mark.parametrize("case", ["the turn limit", "a turn without an end", "malformed text"])
def test_a_full_context_ends_the_tokens_as_in_collect_rollouts(
    case, response_length, make_config, policy, settings, rows
):
    write, rows = CASES[case], rows[:1]
    config = make_config(response_length=response_length)
    outputs = _outputs(config, ScriptedServer(policy.codec, write), rows)
    num_prompt = len(outputs[0].prompt_ids)
    rollouts = _rollouts(settings, policy, write, rows, max_context=num_prompt + response_length)
    for output, rollout in zip(outputs, rollouts, strict=True):
        _assert_same(output, rollout)
        assert len(output.response_ids) <= response_length


def test_noise_is_that_of_the_row_or_of_the_trainers_step(make_config, policy, settings, rows):
    noise_schedule = {"start": 0.0, "end": 1.0, "total_steps": 9}
    noisy = {"engine": {"kind": "paragraphs"}, "noise": noise_schedule}
    server = ScriptedServer(policy.codec, _search_then_answer)
    config = make_config(environment=noisy)

    def noise(row, step):
        output = _outputs(config, server, [row], 1, global_steps=step)[0]
        return output.extra_fields["reward_extra_info"]["noise_probability"]

    assert noise(rows[0], 1) == 0.0
    assert 0.0 < noise(rows[0], 5) < noise(rows[0], 9) < 1.0
    assert noise(rows[0], 10) == 1.0
    fixed = rows[0] | {"extra_info": rows[0]["extra_info"] | {"noise_probability": 0.25}}
    assert noise(fixed, 9) == 0.25


@pytest.mark.parametrize("share_group_seed", [False, True])
def test_episode_seeds_equal_those_of_collect_rollouts(
    share_group_seed, make_config, policy, settings, rows
):
    half = {"engine": {"kind": "paragraphs"}, "noise": 0.5, "noise_draw": "document"}
    server = ScriptedServer(policy.codec, _look_at_pages)
    config = make_config(environment=half, loop={"share_group_seed": share_group_seed})
    outputs = _outputs(config, server, rows)
    rollouts = _rollouts(
        settings | half, policy, _look_at_pages, rows, share_group_seed=share_group_seed
    )
    for output, rollout in zip(outputs, rollouts, strict=True):
        _assert_same(output, rollout)
    alike = [
        a.response_ids == b.response_ids for a, b in zip(outputs[::2], outputs[1::2], strict=True)
    ]
    assert all(alike) is share_group_seed


def test_episodes_at_the_same_time_keep_their_own_question(make_config, policy, rows):
    server = ScriptedServer(policy.codec, _search_then_answer)
    outputs = _outputs(make_config(), server, rows)
    texts = [policy.codec.decode(output.prompt_ids + output.response_ids) for output in outputs]
    for place, number in enumerate((0, 0, 3, 3, 1, 1)):
        assert set(re.findall(r"What is (\d)", texts[place])) == {str(number)}
        assert texts[place].endswith(f"<answer>a{number}</answer>")
    names = [name for name, _, _ in server.calls]
    assert len(set(names[:6])) == 6, "all episodes start before one continues"
    assert all(names.count(name) == 2 for name in names)


def test_a_turn_continues_from_the_sampled_ids(make_config, policy, rows):
    server = ScriptedServer(policy.codec, _search_then_answer)
    (output,) = _outputs(make_config(), server, rows[:1], 1)
    first, second = (ids for _, ids, _ in server.calls)
    assert first == output.prompt_ids
    last = len(policy.codec.encode_environment("<think>so</think><answer>a0</answer>"))
    assert second == output.prompt_ids + output.response_ids[:-last]


def test_logprobs_belong_to_the_policys_tokens(make_config, policy, rows):
    server = ScriptedServer(policy.codec, _search_then_answer, logprob=-0.5)
    (output,) = _outputs(make_config(), server, rows[:1], 1)
    wanted = [-0.5 if mask else 0.0 for mask in output.response_mask]
    assert output.response_logprobs == wanted
    assert 0 < sum(output.response_mask) < len(wanted)
    with pytest.raises(ValueError, match="calculate_log_probs"):
        _outputs(make_config(), ScriptedServer(policy.codec, _end_at_once, None), rows[:1], 1)


def test_stop_strings_are_sent_to_the_server(make_config, policy, rows):
    server = ScriptedServer(policy.codec, _search_then_answer)
    _outputs(make_config(), server, rows[:1], 1)
    (_, _, sampling), *_ = server.calls
    assert sampling["stop"] == ["</search>", "</answer>"]
    assert sampling["include_stop_str_in_output"] is True
    assert sampling["max_tokens"] == MAX_NEW_TOKENS


def test_tools_are_a_list_or_a_text():
    environments = {"a": {"tools": "search,open"}, "b": {}, "c": {"tools": ["search"]}}
    assert _tools(environments) == ("search", "open")


def test_the_output_names_the_weights_of_an_episode(make_config, policy, rows):
    (output,) = _outputs(
        make_config(), ScriptedServer(policy.codec, _search_then_answer), rows[:1], 1
    )
    assert output.extra_fields["min_global_steps"] == 4
    assert output.extra_fields["max_global_steps"] == 4


@pytest.mark.parametrize("why", ["engine", "server"])
def test_a_failed_episode_returns_nothing(why, make_config, policy, rows):
    config = make_config(environment={"engine": BROKEN} if why == "engine" else None)
    stop_reason = "aborted" if why == "server" else "completed"
    server = ScriptedServer(policy.codec, _search_then_answer, stop_reason=stop_reason)
    assert _outputs(config, server, rows[:1], 1) == [[]]


def test_without_session_id_a_failed_episode_is_a_row_of_zeros(make_config, policy, rows):
    config = make_config(environment={"engine": BROKEN})
    worker = AgentLoopWorker(config, ScriptedServer(policy.codec, _search_then_answer))
    fields = [_fields(row) for row in rows]
    batch = DataProto(
        non_tensor_batch={
            name: np.array([one[name] for one in fields] + [None], dtype=object)[:-1]
            for name in fields[0]
        }
    )
    batch = asyncio.run(worker.generate_sequences(batch))
    assert batch.batch["response_mask"].sum() == 0
    assert batch.batch["rm_scores"].abs().sum() == 0
    assert batch.batch["rollout_log_probs"].abs().sum() == 0


def test_a_padded_batch_holds_the_same_tokens(make_config, policy, settings, rows):
    worker = AgentLoopWorker(make_config(), ScriptedServer(policy.codec, _search_then_answer))
    fields = [_fields(row) for row in rows]
    batch = DataProto(
        non_tensor_batch={
            name: np.array([one[name] for one in fields] + [None], dtype=object)[:-1]
            for name in fields[0]
        }
    )
    batch = asyncio.run(worker.generate_sequences(batch))
    rollouts = _rollouts(settings, policy, _search_then_answer, rows, group_size=1)
    for place, rollout in enumerate(rollouts):
        start = len(rollout.segments[0].token_ids)
        length = len(rollout.token_ids) - start
        assert tuple(batch.batch["responses"][place, :length]) == rollout.token_ids[start:]
        mask = batch.batch["response_mask"][place]
        assert tuple(map(bool, mask[:length])) == rollout.action_mask[start:]
        assert mask[length:].sum() == 0
        assert batch.batch["rm_scores"][place, length - 1] == rollout.reward
        assert batch.non_tensor_batch["f1"][place] == 1.0


@pytest.fixture
def queue(monkeypatch):
    """Entries of verl's transfer queue, by key."""
    rows, tags = {}, {}

    async def put(*, keys, fields, tags, partition_id):
        for place, key in enumerate(keys):
            rows[key] = {name: fields[name][place] for name in list(fields.keys())}

    async def mark(*, key, partition_id, tag):
        tags[key] = tag["status"]

    monkeypatch.setattr(transfer_queue, "async_kv_batch_put", put)
    monkeypatch.setattr(transfer_queue, "async_kv_put", mark)
    monkeypatch.setattr(transfer_queue, "init", lambda: None)
    return rows, tags


def _queued(config, server, rows):
    worker = AgentLoopWorkerTQ.__ray_metadata__.modified_class(config, server)

    async def play():
        fields = [_fields(row) for row in rows]
        columns = {name: NonTensorStack(*[one[name] for one in fields]) for name in fields[0]}
        columns["uid"] = NonTensorStack(*[f"u{i}" for i in range(len(rows))])
        columns["index"] = NonTensorStack(*[one["index"] for one in fields])
        batch = TensorDict(columns, batch_size=len(rows))
        batch["global_steps"] = NonTensorData(1)
        await worker.generate_sequences(batch)
        while worker.background_tasks:
            await asyncio.gather(*worker.background_tasks)

    asyncio.run(play())


def test_the_trainers_queue_holds_the_same_tokens(make_config, policy, settings, rows, queue):
    _queued(make_config(), ScriptedServer(policy.codec, _search_then_answer), rows)
    put, status = queue
    rollouts = _rollouts(settings, policy, _search_then_answer, rows)
    assert set(status.values()) == {"finished"}
    assert set(put) == {f"u{row}_{member}_0" for row in range(3) for member in range(2)}
    for place, rollout in enumerate(rollouts):
        one = put[f"u{place // 2}_{place % 2}_0"]
        start = len(rollout.segments[0].token_ids)
        assert tuple(one["input_ids"].tolist()) == rollout.token_ids
        assert tuple(map(bool, one["loss_mask"])) == rollout.action_mask[start:]
        assert one["rm_scores"][-1] == one["rm_scores"].sum() == rollout.reward


@pytest.mark.parametrize(
    ("broken", "error"),
    [({"engine": BROKEN}, "failed: SearchError: http"), ({"reward": REWARD}, "failed: judge: ")],
)
def test_failed_episodes_are_not_queued(make_config, policy, rows, queue, broken, error, caplog):
    config = make_config(environment=broken)
    _queued(config, ScriptedServer(policy.codec, _search_then_answer), rows)
    put, status = queue
    assert put == {}
    assert set(status.values()) == {"finished"}
    assert error in caplog.text


def test_rows_of_other_questions_are_refused(make_config, policy, rows):
    server = ScriptedServer(policy.codec, _end_at_once)
    other = rows[0] | {"extra_info": rows[0]["extra_info"] | {"question_id": "q9"}}
    with pytest.raises(ValueError, match="write the rows again"):
        _outputs(make_config(), server, [other], 1)
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        _outputs(make_config(), server, [rows[0] | {"data_source": "tran"}], 1)


def test_a_prompt_without_room_is_an_error(make_config, policy, rows):
    config = make_config()
    OmegaConf.update(config, "data.max_prompt_length", 10)
    with pytest.raises(ValueError, match="max_prompt_length=10"):
        _outputs(config, ScriptedServer(policy.codec, _end_at_once), rows[:1], 1)


def _example(*overrides):
    with initialize_config_dir(str(EXAMPLES), version_base=None):
        return compose("search", list(overrides))


def _leaves(config, path=()):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        else:
            yield ".".join((*path, name))


def test_the_example_sets_nothing_that_verl_does_not_know():
    own = yaml.safe_load((EXAMPLES / "search.yaml").read_text())
    del own["hydra"], own["defaults"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        known = OmegaConf.to_container(compose("ppo_trainer"))
    names = set(_leaves(own))
    assert len(names) > 30
    assert names <= set(_leaves(known))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("actor_rollout_ref.model.path=Qwen/Qwen2.5-14B-Instruct", "trainer.nnodes=2"),
        ("actor_rollout_ref.rollout.tensor_model_parallel_size=2", "trainer.nnodes=4"),
    ],
)
def test_verl_accepts_the_example_on_8_16_and_32_gpus(overrides):
    validate_config(_example(*overrides), use_reference_policy=True, use_critic=False)


def test_the_examples_loop_plays_its_environments(settings):
    config = _example()
    agent = config.actor_rollout_ref.rollout.agent
    assert agent.default_agent_loop == AGENT_NAME
    (loop,) = OmegaConf.load(EXAMPLES.parents[1] / agent.agent_loop_config_path)
    environments = OmegaConf.to_container(loop.environments, resolve=True)
    assert loop.name == AGENT_NAME
    assert set(environments) == {"train", "heldout"}
    for environment in environments.values():
        given = {"questions": settings["questions"], "engine": {"kind": "none"}}
        env = SharedEnvironment(environment | given).make()
        env.reset(options={"question_index": 0, "training_step": 199})
        assert env.config.max_turns == 4
        env.close()


@pytest.mark.parametrize(
    "flags",
    [
        ("--recipe", "search-r1", "--billions", "7"),
        ("--recipe", "zerosearch", "--algorithm", "grpo", "--billions", "3"),
        ("--recipe", "research", "--gpus", "16", "--billions", "14"),
        ("--recipe", "r1-searcher", "--stage", "2", "--billions", "7"),
    ],
    ids=lambda flags: flags[1],
)
def test_verl_accepts_the_configuration_of_a_recipe(flags, policy, tmp_path, capsys):
    output = tmp_path / "config"
    given = ["--policy", policy.name, "--steps", "1", "--eval-episodes", "2", *flags]
    assert main(["verl-config", *given, "--output", str(output)]) == 0
    assert "accepts the configuration" in capsys.readouterr().err


def test_verl_composes_the_documented_configuration(policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, (_, *words), (_, *start) = commands("verl")
    words = [policy.name if word.startswith("Qwen/") else word for word in words]
    assert main([*words, "--billions", "7", "--steps", "1", "--eval-episodes", "2"]) == 0
    start = [word.replace("$PWD", str(tmp_path)) for word in start]
    # Hydra prints the whole configuration in place of the run.
    finished = subprocess.run(
        [sys.executable, *start, "--cfg", "job"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    composed = yaml.safe_load(finished.stdout)
    assert composed["actor_rollout_ref"]["model"]["path"] == policy.name


def test_a_field_that_verl_does_not_have_is_an_error(policy, tmp_path):
    flags = ["--recipe", "research", "--policy", policy.name, "--billions", "7", "--steps", "1"]
    assert main(["verl-config", *flags, "--output", str(tmp_path / "config")]) == 0
    path = tmp_path / "config" / "search.yaml"
    path.write_text(path.read_text().replace("ppo_epochs", "ppo_epoch"))
    with pytest.raises(ValueError, match=r"no field actor_rollout_ref\.actor\.ppo_epoch$"):
        check_config(tmp_path / "config")
