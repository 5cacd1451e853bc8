"""A folder keeps to its first setting, and to what it is a folder of."""

import json

import pytest

from agents.storage.settings_file import ensure_settings


@pytest.fixture
def played(tmp_path):
    """A file of the study that a setting is about."""
    return tmp_path / "new" / "played.jsonl"


def keep(setting, played):
    ensure_settings(played.with_name("setting.json"), setting, what="study", files=[played])
    return json.loads(played.with_name("setting.json").read_text())


def test_the_same_setting_is_kept_and_another_is_refused_by_name(played):
    for _ in range(2):
        assert keep({"seed": 0, "sets": ("a",)}, played) == {"seed": 0, "sets": ["a"]}
        played.write_text("{}\n")
    with pytest.raises(
        ValueError, match=r"another study \(noise was None, now 0.5; seed was 0, now 1\)"
    ):
        keep({"seed": 1, "sets": ["a"], "noise": 0.5}, played)


def test_an_error_is_no_longer_than_one_can_read(played):
    keep({"ids": list(range(1000))}, played)
    played.write_text("{}\n")
    with pytest.raises(ValueError) as caught:
        keep({"ids": list(range(1, 1000))}, played)
    assert len(str(caught.value)) < 700


def test_a_setting_under_which_nothing_was_played_makes_room(played):
    keep({"engine": "nowhere.jsonl"}, played)
    played.touch()
    assert keep({"engine": "passages.jsonl"}, played) == {"engine": "passages.jsonl"}


def test_files_that_no_study_wrote_are_left_alone(played):
    played.parent.mkdir()
    played.write_text("mine\n")
    with pytest.raises(ValueError, match=r"contains played.jsonl but no setting.json"):
        keep({"seed": 0}, played)
    assert [path.name for path in played.parent.iterdir()] == ["played.jsonl"]


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_a_damaged_setting_is_named(played, text):
    keep({"seed": 0}, played)
    played.with_name("setting.json").write_text(text)
    with pytest.raises(ValueError, match=r"setting.json is not a JSON object"):
        keep({"seed": 0}, played)
