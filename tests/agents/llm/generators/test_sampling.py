import math

import pytest
import torch

from agents.llm.generators.sampling import Sampling, as_int64, sample_tokens, uniforms

LOGITS = torch.tensor([[0.0, math.log(2.0), math.log(5.0), -math.inf]])  # 1/8, 2/8, 5/8, 0


def _draw(uniform: float, temperature: float = 1.0) -> int:
    tokens, _ = sample_tokens(
        LOGITS, temperature=temperature, uniforms_B=torch.tensor([uniform], dtype=torch.float64)
    )
    return int(tokens[0])


def test_the_cumulative_distribution_is_inverted():
    assert [_draw(u) for u in (0.0, 0.12, 0.13, 0.37, 0.38, 0.99)] == [0, 0, 1, 1, 2, 2]


def test_a_token_with_probability_0_is_never_sampled():
    assert _draw(1.0 - 2.0**-52) == 2


def test_temperature_divides_the_logits():
    # At temperature 1/2 the weights are squared: 1, 4, 25 of 30.
    _, logprobs = sample_tokens(
        LOGITS, temperature=0.5, uniforms_B=torch.tensor([0.1], dtype=torch.float64)
    )
    assert logprobs[0].item() == pytest.approx(math.log(4 / 30), abs=1e-6)
    assert _draw(1 / 30 - 0.001, temperature=0.5) == 0
    assert _draw(5 / 30 + 0.001, temperature=0.5) == 2


def test_temperature_0_is_greedy_and_returns_logprobs_at_temperature_1():
    tokens, logprobs = sample_tokens(LOGITS, temperature=0.0, uniforms_B=None)
    assert tokens.tolist() == [2]
    assert logprobs[0].item() == pytest.approx(math.log(5 / 8), abs=1e-6)


def test_logprobs_are_float32_for_logits_of_any_dtype():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    _, logprobs = sample_tokens(logits, temperature=1.0, uniforms_B=torch.rand(3).double())
    assert logprobs.dtype == torch.float32


def test_samples_depend_on_seed_and_position_only():
    seeds = torch.tensor([as_int64(seed) for seed in (0, 1, -1, 2**63, 2**64 + 1)])
    positions = torch.arange(5) * 17
    together = uniforms(seeds, positions)
    alone = [uniforms(seeds[i : i + 1], positions[i : i + 1]).item() for i in range(5)]
    assert together.tolist() == alone
    # 2**64 + 1 folds to 1, but stands at another place.
    assert len(set(alone)) == 5


def test_uniforms_fill_the_unit_interval_evenly():
    seeds, positions = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    draws = uniforms(seeds.flatten(), positions.flatten())
    assert draws.min() >= 0 and draws.max() < 1
    counts = torch.histc(draws.float(), bins=64, min=0, max=1)
    # 1,024 expected in each bin, standard deviation 32.
    assert (counts - 1024).abs().max() < 6 * 32
    grid = draws.view(256, 256)
    for left, right in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1])):
        pairs = torch.stack([left.flatten(), right.flatten()])
        assert torch.corrcoef(pairs)[0, 1].abs() < 0.02


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        Sampling(temperature=-0.1)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1"):
        Sampling(max_new_tokens=0)
