"""Texts of a report that was killed are not written a second time."""

import json

from agents.simulator_tuning.cached_generator import CachedTextGenerator
from zs_env.simulator.generators.base import GenerationError, Prompt
from zs_env.simulator.generators.scripted import ScriptedTextGenerator

ONE, TWO, THREE = (Prompt(text, "", 7) for text in ("one", "two", "three"))


def _generator(path, said, fingerprint="a"):
    def script(prompt):
        said.append(prompt.text)
        return GenerationError("busy") if prompt.text == "three" else f"{prompt.text}!"

    return CachedTextGenerator(ScriptedTextGenerator(script, fingerprint=fingerprint), path)


def test_only_what_is_missing_is_written_and_in_the_order_asked_for(tmp_path):
    said: list[str] = []
    path = tmp_path / "written.jsonl"
    first = _generator(path, said).generate([ONE])
    again = _generator(path, said).generate([TWO, ONE])
    assert [completion.text for completion in again] == ["two!", "one!"]
    assert again[1] == first[0]
    assert said == ["one", "two"]


def test_another_seed_or_system_message_is_another_text(tmp_path):
    said: list[str] = []
    generator = _generator(tmp_path / "written.jsonl", said)
    generator.generate([ONE])
    generator.generate([Prompt("one", "", 8), Prompt("one", None, 7), ONE])
    assert said == ["one"] * 3


def test_an_error_is_not_kept(tmp_path):
    said: list[str] = []
    for _ in range(2):
        written = _generator(tmp_path / "written.jsonl", said).generate([THREE, ONE])
        assert isinstance(written[0], GenerationError)
    assert said == ["three", "one", "three"]


def test_a_line_that_a_kill_cut_off_and_another_models_lines_count_for_nothing(tmp_path):
    said: list[str] = []
    path = tmp_path / "written.jsonl"
    _generator(path, said).generate([ONE, TWO])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    _generator(path, said).generate([ONE, TWO])
    assert said == ["one", "two", "two"]
    assert path.read_bytes() == whole
    assert _generator(path, said, fingerprint="b").generate([ONE])[0].text == "one!"
    assert said[-1] == "one"
    assert all(json.loads(line) for line in path.read_text().splitlines())
