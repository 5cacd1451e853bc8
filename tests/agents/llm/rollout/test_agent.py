import pytest
import torch
from gymnasium.vector import AutoresetMode

from agents.env_pool import EnvPool
from agents.evaluation.settings import adopt_settings
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.rollout.agent import PolicyAgent
from agents.llm.rollout.collect import collect_rollouts
from zs_env import Question
from zs_env.engines import ScriptedEngine
from zs_env.vector_env import ZeroSearchVectorEnv

QUESTIONS = [Question(id=f"q{i}", text=f"What is {i}?", answers=("a",)) for i in range(4)]
GREEDY = Sampling(temperature=0.0, max_new_tokens=15)


def _environment(num_envs: int) -> ZeroSearchVectorEnv:
    return ZeroSearchVectorEnv(
        num_envs,
        QUESTIONS,
        ScriptedEngine({}, default=["Nothing."]),
        autoreset_mode=AutoresetMode.DISABLED,
        prompt="bare",
        max_turns=3,
    )


def _play(agent: PolicyAgent, indices: list[int], *, one_by_one: bool = False) -> list[str]:
    pool = _started(indices)
    while slots := pool.active:
        seen = [pool.observation(slot) for slot in slots], [pool.info(slot) for slot in slots]
        texts = list(map(agent.act, *seen)) if one_by_one else agent.act_batch(*seen)
        pool.step(dict(zip(slots, texts, strict=True)))
    return [pool.transcript(slot).text for slot in range(len(indices))]


def _started(indices: list[int]) -> EnvPool:
    """A pool whose slots have episodes of these questions, with seeds 0, 1, ..."""
    pool = EnvPool(_environment(len(indices)))
    slots = range(len(indices))
    pool.start(dict(zip(slots, indices, strict=True)), seeds=dict(zip(slots, slots, strict=True)))
    return pool


def _wanted(policy, indices: list[int]) -> list[str]:
    groups = collect_rollouts(
        _environment(len(indices)),
        policy,
        TransformersGenerator(policy),
        question_indices=indices,
        seeds=[0] * len(indices),
        group_size=1,
        sampling=GREEDY,
    )
    return [group.rollouts[0].transcript.text for group in groups]


@pytest.mark.parametrize("one_by_one", [False, True])
def test_an_agent_plays_what_a_greedy_rollout_plays(make_policy, one_by_one):
    policy = make_policy()
    # Question 1 twice: two episodes with the same first message.
    indices = [0, 1, 1, 3]
    agent = PolicyAgent(policy, sampling=GREEDY)
    assert _play(agent, indices, one_by_one=one_by_one) == _wanted(policy, indices)


def test_later_turns_process_only_new_tokens(make_policy):
    policy = make_policy()
    agent = PolicyAgent(policy, sampling=GREEDY)
    pool = _started([0])
    pool.step({0: agent.act(pool.observation(0), pool.info(0))})
    read: list[int] = []
    policy.model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    agent.act(pool.observation(0), pool.info(0))
    # The last id of the turn and the message without its last id, which starts the next turn.
    assert read[0] == len(policy.codec.encode_environment(pool.observation(0)["message"]))
    assert set(read[1:]) == {1}


@pytest.mark.parametrize("one_by_one", [False, True])
def test_an_episode_that_is_played_again_starts_anew(make_policy, one_by_one):
    agent = PolicyAgent(make_policy(), sampling=GREEDY)
    first = _play(agent, [0, 1], one_by_one=one_by_one)
    assert _play(agent, [0, 1], one_by_one=one_by_one) == first
    started = _started([0, 1])  # left unfinished
    agent.act(started.observation(1), started.info(1))
    assert _play(agent, [0, 1], one_by_one=one_by_one) == first


def test_an_unknown_episode_is_encoded_as_one_prompt(make_policy):
    policy = make_policy()
    agent = PolicyAgent(policy, sampling=GREEDY)
    row = {"transcript": "Question: x?\nhm\nnotice\n", "message": "\nnotice\n"}
    fresh = {"transcript": row["transcript"], "message": row["transcript"]}
    assert agent.act(row) == PolicyAgent(policy, sampling=GREEDY).act(fresh)


def test_samples_depend_on_transcript_and_seed(make_policy):
    policy = make_policy()
    warm = Sampling(max_new_tokens=15)
    row = {"transcript": "Question: x?\n", "message": "Question: x?\n"}
    texts = [PolicyAgent(policy, sampling=warm, seed=seed).act(row) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    other = {"transcript": "Question: y?\n", "message": "Question: y?\n"}
    agent = PolicyAgent(policy, sampling=warm)
    assert agent.act_batch([other, row])[1] == texts[0]


def test_the_fingerprint_depends_on_weights_and_sampling(make_policy):
    agents = [
        PolicyAgent(make_policy(0)),
        PolicyAgent(make_policy(0)),
        PolicyAgent(make_policy(1)),
        PolicyAgent(make_policy(0), sampling=Sampling(temperature=0.5)),
    ]
    prints = [agent.fingerprint for agent in agents]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_saved_policy_is_loaded_from_its_folder(make_policy, tmp_path):
    policy = make_policy(dtype=torch.float32)
    policy.save(tmp_path)
    agent = PolicyAgent.load(str(tmp_path), sampling=GREEDY)
    assert agent.fingerprint == PolicyAgent(policy, sampling=GREEDY).fingerprint


def test_stream_returns_the_turn_of_act(make_policy):
    for max_new_tokens in (15, 1):
        sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
        acts, streams = (PolicyAgent(make_policy(), sampling=sampling) for _ in range(2))
        pool = _started([1])
        for _ in range(3):
            seen = pool.observation(0), pool.info(0)
            pieces: list[str] = []
            text = streams.stream(*seen, pieces.append)
            assert text == acts.act(*seen) == "".join(pieces)
            assert sum(map(bool, pieces)) > (max_new_tokens > 1)
            pool.step({0: text})


def test_a_full_context_is_counted_and_reported_once(make_policy, caplog):
    policy = make_policy()
    agent = PolicyAgent(policy, TransformersGenerator(policy, max_context=80), sampling=GREEDY)
    _play(agent, [0, 1])
    assert agent.num_context_full > 1
    assert caplog.text.count("used up the context of") == 1
    short = PolicyAgent(policy, sampling=GREEDY)
    _play(short, [0, 1])
    assert short.num_context_full == 0


def test_the_tools_of_an_environment_end_the_turns_of_any_policy(make_policy):
    agent = PolicyAgent(make_policy(), sampling=GREEDY)
    closing = ("</search>", "</answer>")
    assert agent._generator._stop.tags == closing
    assert adopt_settings(agent, {"tools": ["search", "open"]})[0] == {"tools": ["search", "open"]}
    assert agent._generator._stop.tags == (closing[0], "</open>", closing[1])
    assert agent.env_settings.get("tools") is None  # it was trained without them
    adopt_settings(agent, {"tools": ["search"]})
    assert agent._generator._stop.tags == closing
