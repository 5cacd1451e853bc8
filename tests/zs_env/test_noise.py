"""Noise schedules, computed by hand, and adaptive noise."""

from fractions import Fraction

import numpy as np
import pytest

from zs_env.noise import AdaptiveNoise, NoiseSchedule, build_noise


def test_the_exponential_schedule_follows_the_paper():
    # base 4, half way: (4**0.5 - 1) / (4 - 1) = 1/3 of the way from 0.0 to 0.6.
    schedule = NoiseSchedule(0.0, 0.6, total_steps=10)
    assert schedule.probability(0) == 0.0
    assert schedule.probability(5) == pytest.approx(0.2)
    assert schedule.probability(10) == pytest.approx(0.6)
    assert schedule.probability(11) == schedule.probability(10**9) == pytest.approx(0.6)


def test_each_shape_by_hand():
    def at(shape: str, step: int) -> float:
        return NoiseSchedule(0.2, 0.8, total_steps=4, shape=shape).probability(step)  # type: ignore[arg-type]

    assert at("linear", 1) == pytest.approx(0.35)
    assert at("constant", 3) == 0.2
    assert at("reverse", 0) == pytest.approx(0.8)
    assert at("reverse", 2) == pytest.approx(0.2 + 0.6 / 3)
    assert at("reverse", 4) == pytest.approx(0.2)


@pytest.mark.parametrize("shape", ["exponential", "linear", "constant", "reverse"])
@pytest.mark.parametrize("base", [0.25, 4.0])
def test_a_schedule_is_monotone_and_stays_between_its_ends(shape, base):
    schedule = NoiseSchedule(0.1, 0.9, base=base, total_steps=50, shape=shape)
    values = [schedule.probability(step) for step in range(60)]
    assert values == sorted(values, reverse=shape == "reverse")
    assert min(values) >= 0.1 - 1e-12 and max(values) <= 0.9 + 1e-12


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        ({"start": -0.1}, "start"),
        ({"end": 1.1}, "end"),
        ({"base": 1.0}, "linear"),
        ({"total_steps": 0}, "total_steps"),
        ({"shape": "cubic"}, "shape"),
        ({"start": float("nan")}, "start"),
    ],
)
def test_a_wrong_schedule_says_which_field(fields, fix):
    with pytest.raises(ValueError, match=fix):
        NoiseSchedule(**{"start": 0.0, "end": 0.5, **fields})


def test_steps_count_from_zero():
    with pytest.raises(ValueError, match="at least 0"):
        NoiseSchedule(0.0, 0.5).probability(-1)


def test_adaptive_noise_rises_on_success_falls_on_failure_and_forgets_on_reset():
    noise = AdaptiveNoise(0.0, 0.5, target=0.5, window=2, rate=0.1)
    noise.record(1.0)
    assert noise.probability(0) == 0.0  # the window is not full yet
    noise.record(1.0)
    assert noise.probability(0) == pytest.approx(0.1)
    for _ in range(10):
        noise.record(1.0)
    assert noise.probability(0) == 0.5
    noise.record(0.0)  # mean 0.5 is not above the target
    assert noise.probability(0) == pytest.approx(0.4)
    noise.reset()
    noise.record(1.0)
    assert noise.probability(0) == 0.0


@pytest.mark.parametrize(
    ("noise", "probability"),
    [
        (0.5, 0.5),
        (1, 1.0),
        ("0.5", 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(1), 1.0),
        (np.array(0.25), 0.25),
        (Fraction(1, 4), 0.25),
        ({"start": np.float32(0.25), "end": np.float64(0.5)}, 0.25),
        ('{"start": 0.25, "end": 0.5}', 0.25),
        ('{"kind": "adaptive", "start": 0.25, "end": 0.5}', 0.25),
    ],
)
def test_a_noise_may_be_a_number_of_any_type_or_text(noise, probability):
    built = build_noise(noise).probability(0)
    assert built == probability and type(built) is float


@pytest.mark.parametrize(
    ("noise", "match"),
    [
        (1.5, r"in \[0, 1\], got 1.5"),
        (float("nan"), "finite number"),
        (10**400, "finite number"),
        (True, "number"),
        (None, "number"),
        ([0.5], "number"),
        (np.array([0.5]), "number"),
        ("high", "got noise='high'"),
        ("", "got noise=''"),
        ("true", "got noise='true'"),
        ("NaN", "finite number"),
        ("[0.5]", "got noise="),
        ({"start": 0.1}, "needs 'end'"),
        ({"start": 0.1, "end": 0.2, "stepz": 3}, "'stepz'"),
        ({"start": "low", "end": 0.2}, "NoiseSchedule.start"),
        ({"start": 0.1, "end": 0.2, "total_steps": 2.5}, "total_steps must be a whole number"),
        ({"kind": "adaptive", "start": 0.1, "end": None}, "AdaptiveNoise.end"),
        ({"kind": "adaptive", "start": 0.1, "end": 0.2, "window": "x"}, "window"),
        ({"kind": "sine"}, "noise kind"),
        ({"kind": ["schedule"]}, "noise kind"),
        ({1: 2}, "field"),
    ],
)
def test_a_wrong_noise_is_a_value_error(noise, match):
    with pytest.raises(ValueError, match=match):
        build_noise(noise)
