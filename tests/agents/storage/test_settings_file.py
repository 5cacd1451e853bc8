"""The settings of a folder's files cannot change."""

import json

import pytest

from agents.storage.settings_file import ensure_settings


@pytest.fixture
def played(tmp_path):
    """A file that depends on the settings."""
    return tmp_path / "new" / "played.jsonl"


def keep(setting, played):
    ensure_settings(played.with_name("setting.json"), setting, what="study", files=[played])
    return json.loads(played.with_name("setting.json").read_text())


def test_equal_settings_are_accepted_and_differences_are_listed(played):
    for _ in range(2):
        assert keep({"seed": 0, "sets": ("a",)}, played) == {"seed": 0, "sets": ["a"]}
        played.write_text("{}\n")
    with pytest.raises(
        ValueError, match=r"another study \(noise was None, now 0.5; seed was 0, now 1\)"
    ):
        keep({"seed": 1, "sets": ["a"], "noise": 0.5}, played)


def test_errors_are_short(played):
    keep({"ids": list(range(1000))}, played)
    played.write_text("{}\n")
    with pytest.raises(ValueError) as caught:
        keep({"ids": list(range(1, 1000))}, played)
    assert len(str(caught.value)) < 700


def test_settings_without_files_are_replaced(played):
    keep({"engine": "nowhere.jsonl"}, played)
    played.touch()
    assert keep({"engine": "passages.jsonl"}, played) == {"engine": "passages.jsonl"}


def test_files_without_settings_are_refused(played):
    played.parent.mkdir()
    played.write_text("mine\n")
    with pytest.raises(ValueError, match=r"contains played.jsonl but no setting.json"):
        keep({"seed": 0}, played)
    assert [path.name for path in played.parent.iterdir()] == ["played.jsonl"]


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_damaged_settings_are_refused(played, text):
    keep({"seed": 0}, played)
    played.with_name("setting.json").write_text(text)
    with pytest.raises(ValueError, match=r"setting.json is not a JSON object"):
        keep({"seed": 0}, played)
