"""`zerosearch verl-rows` writes rows that verl can read."""

import json

import pytest

from agents.cli.main import main
from agents.env_pool import episode_seed


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": f"What is {i}?", "answers": [str(i)]} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_question_becomes_a_row(questions, tmp_path):
    output = tmp_path / "rows.jsonl"
    flags = ["--env", "ZeroSearch/File-v0", "--questions", str(questions)]
    assert main(["verl-rows", *flags, "--output", str(output)]) == 0
    assert [row["extra_info"] for row in _rows(output)] == [
        {"index": i, "question_id": f"q{i}"} for i in range(3)
    ]


def test_held_out_rows_have_the_seeds_of_an_evaluation(questions, tmp_path):
    output = tmp_path / "rows.jsonl"
    flags = ["--env", "ZeroSearch/File-v0", "--questions", str(questions), "--count", "2"]
    flags += ["--data-source", "heldout", "--noise", "0.25", "--seed", "5"]
    assert main(["verl-rows", *flags, "--output", str(output)]) == 0
    rows = _rows(output)
    assert [row["extra_info"]["seed"] for row in rows] == [episode_seed(5, 0), episode_seed(5, 1)]
    assert {row["extra_info"]["noise_probability"] for row in rows} == {0.25}
    assert {row["data_source"] for row in rows} == {"heldout"}


def test_endless_questions_are_counted_by_the_user(tmp_path, capsys):
    output = tmp_path / "rows.jsonl"
    assert main(["verl-rows", "--output", str(output)]) == 2
    assert "--count" in capsys.readouterr().err
    assert main(["verl-rows", "--output", str(output), "--count", "4"]) == 0
    assert len(_rows(output)) == 4


def test_an_ending_that_verl_does_not_read_is_refused(tmp_path, capsys):
    assert main(["verl-rows", "--output", str(tmp_path / "rows.parquet")]) == 2
    assert ".jsonl" in capsys.readouterr().err


def test_a_row_that_cannot_be_written_leaves_the_earlier_file(questions, tmp_path, capsys):
    output = tmp_path / "rows.jsonl"
    flags = ["verl-rows", "--env", "ZeroSearch/File-v0", "--questions", str(questions)]
    assert main([*flags, "--output", str(output)]) == 0
    before = output.read_bytes()
    with questions.open("a") as file:
        file.write(json.dumps({"id": "long", "question": "x" * 20_000, "answers": ["a"]}) + "\n")
    assert main([*flags, "--output", str(output)]) == 2
    assert "max_prompt_chars" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["questions.jsonl", "rows.jsonl"]
