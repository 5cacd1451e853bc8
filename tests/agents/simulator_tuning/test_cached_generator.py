"""Stored texts are not generated again."""

import json

from agents.simulator_tuning.cached_generator import CachedTextGenerator
from zs_env.simulator import ScriptedTextGenerator
from zs_env.simulator.generators.base import GenerationError, Prompt

ONE, TWO, THREE = (Prompt(text, "", 7) for text in ("one", "two", "three"))


def _generator(path, calls, fingerprint="a"):
    def script(prompt):
        calls.append(prompt.text)
        return GenerationError("busy") if prompt.text == "three" else f"{prompt.text}!"

    return CachedTextGenerator(ScriptedTextGenerator(script, fingerprint=fingerprint), path)


def test_only_missing_texts_are_generated_and_the_order_is_kept(tmp_path):
    calls: list[str] = []
    path = tmp_path / "outputs.jsonl"
    first = _generator(path, calls).generate([ONE])
    again = _generator(path, calls).generate([TWO, ONE])
    assert [completion.text for completion in again] == ["two!", "one!"]
    assert again[1] == first[0]
    assert calls == ["one", "two"]


def test_another_seed_or_system_message_is_another_text(tmp_path):
    calls: list[str] = []
    generator = _generator(tmp_path / "outputs.jsonl", calls)
    generator.generate([ONE])
    generator.generate([Prompt("one", "", 8), Prompt("one", None, 7), ONE])
    assert calls == ["one"] * 3


def test_errors_are_not_stored(tmp_path):
    calls: list[str] = []
    for _ in range(2):
        outputs = _generator(tmp_path / "outputs.jsonl", calls).generate([THREE, ONE])
        assert isinstance(outputs[0], GenerationError)
    assert calls == ["three", "one", "three"]


def test_incomplete_lines_and_lines_of_other_models_are_ignored(tmp_path):
    calls: list[str] = []
    path = tmp_path / "outputs.jsonl"
    _generator(path, calls).generate([ONE, TWO])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    _generator(path, calls).generate([ONE, TWO])
    assert calls == ["one", "two", "two"]
    assert path.read_bytes() == whole
    assert _generator(path, calls, fingerprint="b").generate([ONE])[0].text == "one!"
    assert calls[-1] == "one"
    assert all(json.loads(line) for line in path.read_text().splitlines())
