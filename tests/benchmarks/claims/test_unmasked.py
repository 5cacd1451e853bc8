"""Tokens of pages become tokens of the policy, with its log-probabilities, within the context."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agents.llm.algorithms.registry import AlgorithmConfig
from agents.llm.learner.batch import Batch
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.learner.models import LogprobModel
from agents.llm.rollout.types import Group, Rollout, Segment, Source
from benchmarks.claims.unmasked import pages_unmasked, unmask
from zs_env import Question, Transcript

POLICY, ENVIRONMENT = Source.POLICY, Source.ENVIRONMENT


def _rollout(reward: float, failure: str | None = None) -> Rollout:
    segments = (
        Segment(source=Source.PROMPT, token_ids=(1, 2)),
        Segment(source=POLICY, token_ids=(3, 4), logprobs=(-1.0, -2.0)),
        Segment(source=ENVIRONMENT, token_ids=(5, 6, 7)),
        Segment(source=POLICY, token_ids=(8,), logprobs=(-3.0,)),
    )
    transcript = Transcript(
        question=Question(id="q", text="?", answers=("a",)),
        prompt="",
        failure=failure,
        reason="failure" if failure else "answer",
        reward_terms=(("answer", reward),),
    )
    return Rollout(segments=segments, transcript=transcript)


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=10,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()


def _unmask(model: LlamaForCausalLM, *groups: Group) -> list[Group]:
    def score(micro_batch):
        with torch.no_grad():
            return LogprobModel(model)(micro_batch)[0]

    return unmask(groups, score, max_tokens=16)


def test_pages_are_scored_by_the_policy_and_its_own_tokens_keep_their_scores(model):
    (group,) = _unmask(model, Group(rollouts=(_rollout(0.0), _rollout(1.0))))
    with torch.no_grad():
        expected = model(torch.tensor([[1, 2, 3, 4, 5, 6, 7]])).logits.log_softmax(-1)[0]
    for rollout in group.rollouts:
        assert [s.source for s in rollout.segments] == [Source.PROMPT, POLICY, POLICY, POLICY]
        assert rollout.token_ids == (1, 2, 3, 4, 5, 6, 7, 8)
        sampled, page, answer = (segment.logprobs for segment in rollout.segments[1:])
        assert (sampled, answer) == ((-1.0, -2.0), (-3.0,))
        assert page == pytest.approx([expected[3 + i, 5 + i].item() for i in range(3)], abs=1e-5)
    assert [rollout.reward for rollout in group.rollouts] == [0.0, 1.0]


def test_void_rollouts_and_those_without_a_word_stay_as_they_are(model):
    void, said = _rollout(0.0, failure="timeout"), _rollout(1.0)
    silent = replace(said, segments=said.segments[:1] + said.segments[2:3])
    group = Group(rollouts=(void, silent, said))
    (changed,) = _unmask(model, group)
    assert changed.rollouts[:2] == (void, silent)
    assert changed.rollouts[2] != said
    assert _unmask(model, Group(rollouts=(void,))) == [Group(rollouts=(void,))]


def test_the_learner_trains_on_pages_only_within_the_context(model, monkeypatch):
    counts = []
    made = Batch.from_groups.__func__

    def counted(cls, groups):
        batch = made(cls, groups)
        counts.append(batch.num_tokens)
        return batch

    learner = Learner(
        model, algorithm=AlgorithmConfig(), optimizer=OptimizerConfig(), total_updates=3
    )
    group = Group(rollouts=(_rollout(0.0), _rollout(1.0)))
    monkeypatch.setattr(Batch, "from_groups", classmethod(counted))
    learner.update([group])
    assert counts == [6]
    with pages_unmasked():
        assert not learner.update([group]).skipped
    assert counts[-1] == 12
    learner.update([group])
    assert counts[-1] == 6
