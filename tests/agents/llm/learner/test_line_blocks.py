"""The blocks of a line say what its spans say, and attention by them is attention span by span."""

import pytest
import torch
from torch.nn.attention import flex_attention

from agents.llm.learner.batch import Batch
from agents.llm.learner.line_blocks import has_kernel, make_blocks
from agents.llm.learner.logprobs import action_logprobs
from agents.llm.learner.packing import Packing, Span, reading_lines
from agents.llm.rollout.types import Group, Rollout

CPU = torch.device("cpu")
BLOCK = 128
# A prompt of 300 tokens with rollouts of 150 and 40 own ones, and a prompt of 7 with one of 20.
SPANS = (
    Span(0, 300, 0, 0),
    Span(300, 450, 0, 300),
    Span(450, 490, 0, 300),
    Span(490, 497, 490, 490),
    Span(497, 517, 490, 497),
)
LENGTH, PADDED = 517, 640
# On a CPU flex_attention warns that it is no kernel there, and traces itself with a warning.
pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


def _seen() -> torch.Tensor:
    """[640, 640] which tokens see which, worked out token by token; padding sees itself."""
    seen = torch.zeros(PADDED, PADDED, dtype=torch.bool)
    for begin, stop, first, last in (
        (0, 300, 0, 0),
        (300, 450, 0, 300),
        (450, 490, 0, 300),
        (490, 497, 0, 0),
        (497, 517, 490, 497),
        (517, 640, 0, 0),
    ):
        for token in range(begin, stop):
            seen[token, begin : token + 1] = True
            seen[token, first:last] = True
    return seen


def test_each_block_is_left_out_read_whole_or_token_by_token() -> None:
    blocks = make_blocks(SPANS, CPU)
    tiles = _seen().view(PADDED // BLOCK, BLOCK, PADDED // BLOCK, BLOCK).transpose(1, 2)
    seen = tiles.sum((2, 3))
    # Tokens 128 to 255 are read whole by 256 to 383, of which all see the prompt.
    assert blocks.full_kv_num_blocks is not None and seen[2, 1] == BLOCK * BLOCK

    def listed(counts: torch.Tensor, indices: torch.Tensor) -> list[set[int]]:
        pairs = zip(counts[0, 0].tolist(), indices[0, 0].tolist(), strict=True)
        return [set(row[:count]) for count, row in pairs]

    whole = [set(row.nonzero()[:, 0].tolist()) for row in seen == BLOCK * BLOCK]
    some = [set(row.nonzero()[:, 0].tolist()) for row in (seen > 0) & (seen < BLOCK * BLOCK)]
    assert listed(blocks.full_kv_num_blocks, blocks.full_kv_indices) == whole
    assert listed(blocks.kv_num_blocks, blocks.kv_indices) == some
    # The backward pass goes by the same lists the other way round.
    assert listed(blocks.q_num_blocks, blocks.q_indices) == [
        {query for query, keys in enumerate(some) if key in keys} for key in range(len(some))
    ]


def test_within_a_block_a_token_sees_its_prompt_and_itself() -> None:
    sees = make_blocks(SPANS, CPU).mask_mod
    places = torch.arange(PADDED)
    none = torch.tensor(0)
    assert torch.equal(sees(none, none, places[:, None], places[None]), _seen())


@pytest.mark.parametrize("length", [1, 127, 128, 129, 600])
def test_lines_of_any_length_fit(length: int) -> None:
    blocks = make_blocks((Span(0, length, 0, 0),), CPU)
    assert blocks.shape[-1] == {600: 640, 129: 256}.get(length, 128)


def test_attention_and_its_gradient_are_those_of_spans_in_turn(monkeypatch) -> None:
    # torch refuses gradients on a CPU because it has no kernel there; the slow way has them.
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)
    torch.manual_seed(0)
    states = [torch.randn(1, heads, LENGTH, 8, dtype=torch.float64) for heads in (4, 2, 2)]
    pull = torch.randn(1, LENGTH, 4, 8, dtype=torch.float64)

    def attended(packing: Packing) -> list[torch.Tensor]:
        given = [one.clone().requires_grad_() for one in states]
        out = packing.attend(given[0], given[1], given[2], 0.3)
        (out * pull).sum().backward()
        return [out.detach(), *(one.grad for one in given if one.grad is not None)]

    positions = torch.zeros(LENGTH, dtype=torch.long)
    in_turn = attended(Packing(SPANS, positions))
    at_once = attended(Packing(SPANS, positions, make_blocks(SPANS, CPU)))
    assert len(in_turn) == len(at_once) == 4
    for ours, theirs in zip(at_once, in_turn, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_model_says_the_same_by_blocks(make_llama, make_rollout, monkeypatch) -> None:
    first, other = make_rollout(30, 40, 60, 20), make_rollout(30, 5, 9, 3, seed=1)
    other = Rollout(segments=(first.segments[0], *other.segments[1:]), transcript=other.transcript)
    batch = Batch.from_groups([Group(rollouts=(first, other))])
    (line,) = batch.micro_batches(1000, share_prompts=True)
    model = make_llama().requires_grad_(False)
    with reading_lines([model]):
        in_turn = action_logprobs(model, line)
        monkeypatch.setattr("agents.llm.learner.packing.has_kernel", lambda device: True)
        by_blocks = line.to(CPU)
        assert by_blocks.packing is not None and by_blocks.packing.blocks is not None
        at_once = action_logprobs(model, by_blocks)
    for ours, theirs in zip(at_once, in_turn, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_cpu_has_no_kernel() -> None:
    assert not has_kernel(CPU)
