"""TOML tables become flags, and a command line comes apart by settings."""

import pytest

from agents.cli.flags import flags_by_setting, flags_of_table, take_flag

KNOWN = ("steps", "eval_noise", "tensorboard", "engine", "no_refills")


def test_each_kind_of_value_becomes_the_flag_that_a_parser_reads():
    table = {
        "steps": 3,
        "eval_noise": [0, 0.5],
        "tensorboard": False,
        "engine": {"kind": "bm25", "k1": 1.5},
    }
    assert flags_of_table(table, KNOWN, where="a.toml") == [
        *("--steps", "3", "--eval-noise", "0", "0.5", "--no-tensorboard"),
        *("--engine", '{"kind": "bm25", "k1": 1.5}'),
    ]
    assert flags_of_table({"tensorboard": True}, KNOWN, where="a.toml") == ["--tensorboard"]
    both = {"engine": [{"kind": "world"}, "bm25"]}
    assert flags_of_table(both, KNOWN, where="a.toml") == ["--engine", '{"kind": "world"}', "bm25"]
    with pytest.raises(ValueError, match=r"key in a\.toml 'step'.*Did you mean 'steps'"):
        flags_of_table({"step": 3}, KNOWN, where="a.toml")


def test_a_flag_is_taken_out_with_its_value():
    for flags in (["--steps", "3", "--recipe", "r1"], ["--steps", "3", "--recipe=r1"]):
        assert take_flag(flags, "--recipe", "a name") == "r1"
        assert flags == ["--steps", "3"]
        assert take_flag(flags, "--recipe", "a name") is None
    with pytest.raises(ValueError, match="--recipe needs a name"):
        take_flag(["--recipe"], "--recipe", "a name")


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
