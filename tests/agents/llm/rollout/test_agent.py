import pytest
import torch
from gymnasium.vector import AutoresetMode

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


def _rows(observation: dict, num_envs: int) -> list[dict]:
    return [
        {key: observation[key][i] for key in ("question", "message", "transcript")}
        for i in range(num_envs)
    ]


def _play(agent: PolicyAgent, indices: list[int], *, one_by_one: bool = False) -> list[str]:
    environment = _environment(len(indices))
    observation, _ = environment.reset(seed=0, options={"question_index": indices})
    for _ in range(3):
        rows = _rows(observation, len(indices))
        texts = [agent.act(row) for row in rows] if one_by_one else agent.act_batch(rows)
        observation = environment.step(texts)[0]
    return [environment.transcript(i).text for i in range(len(indices))]


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
    # Question 1 twice: two episodes with one text at once.
    indices = [0, 1, 1, 3]
    agent = PolicyAgent(policy, sampling=GREEDY)
    assert _play(agent, indices, one_by_one=one_by_one) == _wanted(policy, indices)


def test_later_turns_read_only_what_is_new(make_policy):
    policy = make_policy()
    agent = PolicyAgent(policy, sampling=GREEDY)
    environment = _environment(1)
    observation, _ = environment.reset(seed=0, options={"question_index": 0})
    (row,) = _rows(observation, 1)
    text = agent.act(row)
    (row,) = _rows(environment.step([text])[0], 1)
    read: list[int] = []
    policy.model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    agent.act(row)
    # The last id written and the message, whose own last id begins the turn.
    assert read[0] == len(policy.encode_environment(row["message"]))
    assert set(read[1:]) == {1}


def test_an_episode_it_has_not_begun_is_read_as_one_message(make_policy):
    policy = make_policy()
    agent = PolicyAgent(policy, sampling=GREEDY)
    row = {"transcript": "Question: x?\nhm\nnotice\n", "message": "\nnotice\n"}
    fresh = {"transcript": row["transcript"], "message": row["transcript"]}
    assert agent.act(row) == PolicyAgent(policy, sampling=GREEDY).act(fresh)


def test_draws_follow_from_text_and_seed(make_policy):
    policy = make_policy()
    warm = Sampling(max_new_tokens=15)
    row = {"transcript": "Question: x?\n", "message": "Question: x?\n"}
    texts = [PolicyAgent(policy, sampling=warm, seed=seed).act(row) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    other = {"transcript": "Question: y?\n", "message": "Question: y?\n"}
    agent = PolicyAgent(policy, sampling=warm)
    assert agent.act_batch([other, row])[1] == texts[0]


def test_the_fingerprint_tells_weights_and_sampling_apart(make_policy):
    agents = [
        PolicyAgent(make_policy(0)),
        PolicyAgent(make_policy(0)),
        PolicyAgent(make_policy(1)),
        PolicyAgent(make_policy(0), sampling=Sampling(temperature=0.5)),
    ]
    prints = [agent.fingerprint for agent in agents]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_saved_policy_is_an_agent_by_its_folder(make_policy, tmp_path):
    policy = make_policy(dtype=torch.float32)
    policy.save(tmp_path)
    agent = PolicyAgent.load(str(tmp_path), sampling=GREEDY)
    assert agent.fingerprint == PolicyAgent(policy, sampling=GREEDY).fingerprint


def test_a_streamed_turn_is_the_turn_that_is_acted(make_policy):
    for max_new_tokens in (15, 1):
        sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
        acts, streams = (PolicyAgent(make_policy(), sampling=sampling) for _ in range(2))
        environment = _environment(1)
        observation, _ = environment.reset(seed=0, options={"question_index": [1]})
        for _ in range(3):
            (row,) = _rows(observation, 1)
            pieces: list[str] = []
            text = streams.stream(row, pieces.append)
            assert text == acts.act(row) == "".join(pieces)
            assert sum(map(bool, pieces)) > (max_new_tokens > 1)
            observation = environment.step([text])[0]
