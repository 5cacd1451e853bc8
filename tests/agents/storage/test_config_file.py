"""Nested settings are one flat table in TOML and JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from agents.storage.config_file import FlatSettings, read_settings, settings_of, with_settings


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    engine: str | None = None
    noise: tuple[float, ...] = (0.0,)
    shape: Literal["linear"] | Literal["cosine"] = "linear"


@dataclass(frozen=True, kw_only=True)
class Outer(FlatSettings):
    inner: Inner = Inner(rate=0.25)
    steps: int = 3
    output: Path = Path("runs")
    tensorboard: bool = True


def read(**table: object) -> dict:
    return read_settings(table, Outer, where="a.toml")


def test_values_have_the_types_of_their_settings():
    assert read(rate=1, noise=[0, 0.5], output="here", engine={"kind": "bm25", "k1": 1.5}) == {
        "rate": 1.0,
        "noise": (0.0, 0.5),
        "output": Path("here"),
        "engine": '{"kind": "bm25", "k1": 1.5}',
    }
    assert read(rate="1e-4", noise=0.5, steps="7") == {"rate": 1e-4, "noise": (0.5,), "steps": 7}
    assert read(engine=None, shape="cosine") == {"engine": None, "shape": "cosine"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rat": 1}, r"key in a\.toml 'rat'.*Did you mean 'rate'"),
        ({"steps": "many"}, r"steps in a\.toml is 'many'; expected int"),
        ({"steps": 1.5}, "steps in .* expected int"),
        ({"steps": True}, "steps in .* expected int"),
        ({"tensorboard": 1}, "tensorboard in .* expected bool"),
        ({"shape": "square"}, "shape in .* expected one of 'linear' or one of 'cosine'"),
        ({"noise": ["much"]}, "noise in .* expected a list of float"),
        ({"inner": {}}, "key in a.toml 'inner'"),
    ],
)
def test_other_names_and_values_are_refused_with_file_and_key(table, message):
    with pytest.raises(ValueError, match=message):
        read(**table)


def test_settings_are_replaced_in_nested_configurations():
    config = with_settings(Outer(), {"rate": 2.0, "steps": 9})
    assert config == Outer(inner=Inner(rate=2.0), steps=9)
    assert settings_of(config)["rate"] == 2.0
    with pytest.raises(ValueError, match=r"setting of Outer 'rates'.*'rate'"):
        with_settings(Outer(), {"rates": 1})


def test_a_record_in_json_is_read_back_equal():
    config = Outer(inner=Inner(noise=(0.0, 0.3)), output=Path("there"))
    record = json.loads(json.dumps(config.to_json()))
    assert with_settings(Outer(), read_settings(record, Outer, where="a record")) == config
