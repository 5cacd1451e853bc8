"""The pages of docs name what the code reads, writes and logs."""

import json
import re
from contextlib import redirect_stderr
from io import StringIO

import pytest

from agents.cli.main import main
from tests.envs_registry.documented import MAX_LINES, sections
from tests.paths import ROOT
from zs_env.actions import MALFORMED_KINDS
from zs_env.questions import load_questions_file
from zs_env.questions.files import (
    ANSWER_FIELDS,
    ID_FIELDS,
    QUESTION_FIELDS,
    SOURCE_FIELDS,
)
from zs_env.rewards import PRESETS, TERMS, build_reward
from zs_env.world.sample_files import write_sample_files

METRICS = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
DATA = (ROOT / "docs/data.md").read_text(encoding="utf-8")
# Logged under settings that the runs of this test do not have.
OF_ANOTHER_SAMPLER = {
    *("sampler_ratio_mean", "sampler_ratio_max", "sampler_ess"),
    *("sampler_k1", "sampler_k3", "sampler_masked"),
}
TINY_RUN = (
    *("--steps", "1", "--questions-per-step", "2", "--group-size", "2", "--final-episodes", "2"),
    *("--eval-every", "0", "--eval-noise", "0", "--noise-end", "0", "--no-tensorboard"),
    *("--max-turns", "2", "--num-documents", "2", "--max-new-tokens", "16"),
)


def _documented(heading):
    """The names in the first column of the tables under a heading."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", METRICS, re.M | re.S)
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.M)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The names that two runs log by kind of row: PPO with a critic, and GRPO with a KL."""
    names = {"train": set(), "evaluation": set()}
    for flags in (("ppo",), ("grpo", "--kl-coef", "0.01")):
        output = tmp_path_factory.mktemp("run")
        words = ["train", "--algorithm", *flags, "--output", str(output), *TINY_RUN]
        with redirect_stderr(StringIO()) as printed:
            assert main(words) == 0
        assert "docs/metrics.md" in printed.getvalue()
        for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            names[row["kind"]] |= row.keys() - {"kind", "step"}
    return names


def test_every_metric_of_training_is_documented_and_no_other(rows):
    documented = _documented("Training: rollouts") | _documented("Training: update")
    assert documented - OF_ANOTHER_SAMPLER == rows["train"] - OF_ANOTHER_SAMPLER
    assert documented >= OF_ANOTHER_SAMPLER


def test_every_metric_of_an_evaluation_in_training_is_documented_and_no_other(rows):
    assert _documented("Evaluation in training") == rows["evaluation"]


def test_every_column_of_an_evaluation_is_documented_and_no_other(tmp_path, capsys):
    words = ["evaluate", "--agent", "search-once", "--episodes", "4", "--json"]
    assert main([*words, "--output", str(tmp_path)]) == 0
    columns = json.loads(capsys.readouterr().out.splitlines()[-1]).keys()
    assert _documented("`zerosearch evaluate`") == columns


def test_every_kind_of_malformed_action_is_documented():
    assert {f"malformed_{kind}" for kind in MALFORMED_KINDS} <= _documented("Training: rollouts")


def test_every_metric_has_a_definition_and_no_row_has_an_empty_one():
    for line in re.findall(r"^\| `.*$", METRICS, re.M):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 4, line
        assert cells[1], line


def test_the_page_of_rewards_names_every_term_and_preset():
    page = (ROOT / "docs/rewards.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]+) \|", page, re.M)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == TERMS.keys()
    assert all(f"`{name}`" in page for name in PRESETS)
    (spec,) = re.findall(r"^```json\n(.*?)^```", page, re.M | re.S)
    assert build_reward(json.loads(spec)).judge.timeout_s == 30


def test_the_page_of_data_names_every_field():
    for field in (*ANSWER_FIELDS, *ID_FIELDS, *QUESTION_FIELDS, *SOURCE_FIELDS):
        assert f"`{field}`" in DATA


def test_the_page_of_data_names_every_sample_file_and_no_other(tmp_path):
    named = {
        name for cell in re.findall(r"\[(`.*?`)\]", DATA) for name in re.findall(r"`(.+?)`", cell)
    }
    assert named == write_sample_files(tmp_path).keys()


def test_the_errors_on_the_page_of_data_are_those_of_the_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good, path = '{"question": "q", "answer": "Rome"}\n', tmp_path / "questions.jsonl"
    bad = {
        1: '{"question": "q", "answers": [1969]}',
        6: '{"question": "q", "answer": "x", "context": [["Rome"]], "supporting_facts": []}',
    }
    for number_before, row in bad.items():
        path.write_text(good * number_before + row)
        with pytest.raises(ValueError) as caught:
            load_questions_file("questions.jsonl")
        assert str(caught.value) in DATA


def test_every_framework_is_shown_in_a_few_lines():
    for framework, text in sections().items():
        shown = re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S)
        assert shown or framework.startswith("Comparison"), framework
        for block in shown:
            assert len(block.splitlines()) <= MAX_LINES, block
