import torch

from agents.llm.learner.batch import Batch
from agents.llm.learner.models import Critic
from agents.llm.rollout.types import Group


def _micro(make_rollout, count=2):
    rollouts = [make_rollout(3, 2, 4, 1, seed=i) for i in range(count)]
    return Batch.from_groups([Group(rollouts=tuple(rollouts))]).micro_batches(1000)[0]


def test_a_new_critic_expects_nothing(make_llama, make_rollout):
    values = Critic.from_policy(make_llama())(_micro(make_rollout))
    assert values.tolist() == [0.0] * 6


def test_the_critic_shares_no_weight_with_the_policy(make_llama):
    model = make_llama()
    own = {parameter.data_ptr() for parameter in Critic.from_policy(model).parameters()}
    assert not own & {parameter.data_ptr() for parameter in model.parameters()}


def test_a_value_does_not_see_the_token_it_stands_before(make_llama, make_rollout):
    critic = Critic.from_policy(make_llama())
    torch.nn.init.ones_(critic.head.weight)
    micro = _micro(make_rollout, 1)
    before = critic(micro)
    micro.token_ids_BT[0, 3] += 1  # the first action token
    after = critic(micro)
    assert after[0] == before[0]
    assert (after[1:] != before[1:]).all()
