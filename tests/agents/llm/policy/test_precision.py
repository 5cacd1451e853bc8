import pytest
import torch

from agents.llm.policy import precision


@pytest.fixture
def timed(monkeypatch):
    """Replaces the measurement by given seconds; lists the measured dtypes."""
    measured = []

    def given(float32, bfloat16):
        def seconds(device, dtype):
            measured.append((device, dtype))
            return float32 if dtype is torch.float32 else bfloat16

        monkeypatch.setattr(precision, "_seconds", seconds)
        precision.bfloat16_is_faster.cache_clear()
        return measured

    yield given
    precision.bfloat16_is_faster.cache_clear()


@pytest.mark.parametrize(
    ("float32", "bfloat16", "faster"),
    [(6.0, 1.0, True), (1.0, 6.0, False), (1.0, 1.0, False), (1.1, 1.0, False)],
)
def test_auto_chooses_bfloat16_if_it_is_clearly_faster(timed, float32, bfloat16, faster):
    timed(float32, bfloat16)
    assert precision.bfloat16_is_faster("cpu") is faster
    with precision.bfloat16_autocast("cpu", "auto"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if faster else torch.float32)


def test_a_device_is_measured_once_and_only_if_asked_for(timed):
    measured = timed(6.0, 1.0)
    for enabled in (True, False):
        precision.bfloat16_autocast("cpu", enabled)
    assert not measured
    for _ in range(3):
        precision.bfloat16_autocast("cpu", "auto")
    assert measured == [("cpu", torch.float32), ("cpu", torch.bfloat16)]


def test_the_measurement_takes_a_positive_time():
    assert precision._seconds("cpu", torch.float32) > 0
