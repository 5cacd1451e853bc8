import pytest
import torch

from agents.llm.learner.batch import Batch
from agents.llm.learner.logprobs import action_logprobs
from agents.llm.learner.packing import ATTENTION, reading_lines
from agents.llm.rollout.types import Group, Rollout


@pytest.fixture
def batch(make_rollout):
    """Two prompts, of four and of two ragged rollouts, and a rollout with a prompt of its own."""

    def group(prompt_length, shapes, seed):
        rollouts = [
            make_rollout(prompt_length, *shape, seed=seed + i) for i, shape in enumerate(shapes)
        ]
        prompt = rollouts[0].segments[0]
        return Group(
            rollouts=tuple(
                Rollout(segments=(prompt, *r.segments[1:]), transcript=r.transcript)
                for r in rollouts
            )
        )

    return Batch.from_groups(
        [
            group(7, [(3, 4, 2), (1,), (5, 9, 1, 2, 3), (2, 3, 6)], 0),
            group(4, [(6, 2, 2), (4,)], 10),
            group(12, [(2, 2, 2)], 20),
        ]
    )


def _scores_and_gradient(model, micro_batches, num_tokens):
    model.zero_grad()
    scores_A2 = torch.zeros(num_tokens, 2, dtype=torch.float64)
    pull_A2 = torch.cos(torch.arange(2.0 * num_tokens, dtype=torch.float64)).view(-1, 2)
    for micro_batch in micro_batches:
        scored = torch.stack(action_logprobs(model, micro_batch), dim=1)
        (scored * pull_A2[micro_batch.tokens_A]).sum().backward()
        scores_A2[micro_batch.tokens_A] = scored.detach()
    return scores_A2, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize(("max_tokens", "num_lines"), [(1000, 1), (40, 3), (1, 7)])
def test_lines_have_the_logprobs_and_gradients_of_padded_rows(
    make_llama, batch, max_tokens, num_lines
):
    model = make_llama()
    padded = _scores_and_gradient(model, batch.micro_batches(1000), batch.num_tokens)
    lines = batch.micro_batches(max_tokens, share_prompts=True)
    assert len(lines) == num_lines
    with reading_lines([model]):
        packed = _scores_and_gradient(model, lines, batch.num_tokens)
    for ours, theirs in zip(packed, padded, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_usual_attention_is_back_afterwards(make_llama, batch):
    model = make_llama()
    usual = model.config._attn_implementation
    with reading_lines([model]):
        assert model.config._attn_implementation == ATTENTION
        with pytest.raises(ValueError, match="share_prompts=False"):
            action_logprobs(model, batch.micro_batches(1000)[0])
    assert model.config._attn_implementation == usual
