"""Flags are read over settings from files, and a command line is split by settings."""

from dataclasses import dataclass

import pytest

from agents.cli.flags import flags_by_setting, parse_flags, take_flag

KNOWN = ("steps", "eval_noise", "tensorboard", "engine", "no_refills")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part.

    Attributes:
        low: lower bound.
        high: upper bound.
    """

    low: int = 0
    high: int = 10

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low exceeds high")


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole.

    Attributes:
        name: required.
    """

    name: str
    part: Part = Part(high=20)


def parse(*flags: str, **settings: object) -> Whole:
    return parse_flags(Whole, flags, prog="test", description="", settings=settings)


def test_flags_override_settings_which_override_defaults():
    assert parse("--name", "a") == Whole(name="a", part=Part(high=20))
    assert parse("--low", "2", name="a", low=1, high=5) == Whole(name="a", part=Part(low=2, high=5))


def test_only_the_combination_of_settings_and_flags_is_validated(capsys):
    assert parse("--high", "40", name="a", low=30).part == Part(low=30, high=40)
    with pytest.raises(SystemExit):
        parse(name="a", low=30)
    assert "low exceeds high" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(low=1)
    assert "--name" in capsys.readouterr().err


def test_a_flag_is_taken_out_with_its_value(capsys):
    for flags in (["--steps", "3", "--recipe", "r1"], ["--steps", "3", "--recipe=r1"]):
        assert take_flag(flags, "--recipe") == "r1"
        assert flags == ["--steps", "3"]
        assert take_flag(flags, "--recipe") is None
    with pytest.raises(SystemExit):
        take_flag(["--recipe"], "--recipe")
    assert "--recipe: expected one argument" in capsys.readouterr().err


def test_words_go_with_the_flag_before_them():
    flags = ["--eval-noise", "0", "0.5", "--no-tensorboard", "--steps=3", "--no-refills"]
    assert flags_by_setting(flags, KNOWN) == [
        ("eval_noise", ("--eval-noise", "0", "0.5")),
        ("tensorboard", ("--no-tensorboard",)),
        ("steps", ("--steps=3",)),
        ("no_refills", ("--no-refills",)),
    ]
    with pytest.raises(ValueError, match=r"flag '--stepz'.*'--steps'"):
        flags_by_setting(["--stepz", "3"], KNOWN)
    with pytest.raises(ValueError, match="got 'steps'"):
        flags_by_setting(["steps", "3"], KNOWN)
