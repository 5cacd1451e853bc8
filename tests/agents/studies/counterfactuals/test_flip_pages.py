"""Flipped pages: the effect of a page computed by hand, what stays fixed, what is refused."""

import json

import pytest

from agents.baselines import FollowTheHops, QuotePage, RandomWords, SearchOnce
from agents.evaluation import evaluate
from agents.evaluation.evaluation_folder import SETTING_FILE, TRANSCRIPTS_FILE, EvaluationFolder
from agents.studies.counterfactuals.flip_pages import PAGES_FILE, flip_pages, page_turns
from zs_env.transcripts.storage import load_transcripts


class Ignores(SearchOnce):
    """Searches twice and answers independently of the pages."""

    def act(self, observation):
        """Never looks at a document."""
        if observation["transcript"].count("<information>") < 3:  # the prompt names it once
            return f"<search>{observation['question']}</search>"
        return "<answer>Ann</answer>"


def _record(agent, folder, env_kwargs=None, **settings):
    env_kwargs = env_kwargs or {}
    evaluate(agent, output=folder, env_kwargs=env_kwargs, agent_name="x", **settings)
    return EvaluationFolder.read(folder)


def _transcripts(evaluation):
    return list(evaluation.transcripts())


@pytest.mark.parametrize(
    ("noise", "kind", "direction", "sign"),
    [(0.0, "useful", "useful to noisy", -1), (1.0, "noisy", "noisy to useful", 1)],
)
def test_a_quoted_page_changes_the_reward_by_its_f1(
    tmp_path, quoted_world, noise, kind, direction, sign
):
    recorded = _record(QuotePage(), tmp_path / "played", quoted_world, noise=noise)
    tower, ship = flip_pages(QuotePage(), recorded, tmp_path / "flipped")
    assert [(one.index, one.question_id, one.turn) for one in (tower, ship)] == [
        (0, "tower", 0),
        (1, "ship", 0),
    ]
    assert {tower.kind, ship.kind} == {kind} and tower.direction == direction
    assert tower.difference == pytest.approx(sign * 4 / 7)
    assert ship.difference == pytest.approx(sign * 0.4)
    assert not tower.same_page


def test_an_ignored_page_does_not_change_the_reward(tmp_path, quoted_world):
    recorded = _record(Ignores(), tmp_path / "played", quoted_world, noise=0.5)
    assert {transcript.reward for transcript in recorded.transcripts()} == {2 / 3, 0.0}
    pages = flip_pages(Ignores(), recorded, tmp_path / "flipped")
    assert [(page.index, page.turn) for page in pages] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(page.difference == 0.0 and not page.same_page for page in pages)


def test_the_pages_of_one_search_flipped_are_those_of_a_world_without_and_of_one_all_of_noise(
    tmp_path,
):
    settings = {"episodes": 30, "seed": 2}
    recorded = _record(SearchOnce(), tmp_path / "half", noise=0.5, **settings)
    without, noise = (
        [
            transcript.reward
            for transcript in _record(
                SearchOnce(), tmp_path / str(level), noise=level, **settings
            ).transcripts()
        ]
        for level in (0.0, 1.0)
    )
    for page in flip_pages(SearchOnce(), recorded, tmp_path / "flipped"):
        there, flipped = (without, noise) if page.kind == "useful" else (noise, without)
        assert (page.reward, page.reward_flipped) == (there[page.index], flipped[page.index])


@pytest.mark.parametrize("agent", [FollowTheHops(), RandomWords(), SearchOnce()])
def test_only_the_page_and_its_consequences_differ(tmp_path, agent):
    recorded = _record(agent, tmp_path / "played", episodes=12, noise=0.5, seed=3)
    pages = flip_pages(agent, recorded, tmp_path / "flipped", concurrency=5)
    played = _transcripts(recorded)
    assert [(page.index, page.turn) for page in pages] == [
        (index, turn) for index in range(12) for turn in page_turns(played[index])
    ]
    lines = (tmp_path / "flipped" / PAGES_FILE).read_text().splitlines()
    written = [json.loads(line) for line in lines]
    flipped = load_transcripts(tmp_path / "flipped" / TRANSCRIPTS_FILE)
    for page, transcript in zip(written, flipped, strict=True):
        was, turn = played[page["index"]], page["turn"]
        assert transcript.turns[:turn] == was.turns[:turn]
        assert transcript.turns[turn].request == was.turns[turn].request.flipped()
        assert transcript.turns[turn].text == was.turns[turn].text
        assert page["reward_flipped"] == transcript.reward and page["reward"] == was.reward
        # Equal later searches get the same random draws, and therefore the same page.
        for later, other in zip(was.turns[turn + 1 :], transcript.turns[turn + 1 :], strict=False):
            if later.text != other.text:
                break
            assert later.request == other.request and later.documents == other.documents


def test_pages_do_not_depend_on_concurrency(tmp_path):
    recorded = _record(RandomWords(), tmp_path / "played", episodes=10, noise=0.5)
    one, many = (
        flip_pages(RandomWords(), recorded, tmp_path / str(concurrency), concurrency=concurrency)
        for concurrency in (1, 64)
    )
    assert one == many


def test_documents_drawn_one_by_one_are_all_flipped(tmp_path):
    env_kwargs = {"noise_draw": "document"}
    recorded = _record(SearchOnce(), tmp_path / "played", env_kwargs, episodes=10, noise=0.5)
    pages = flip_pages(SearchOnce(), recorded, tmp_path / "flipped")
    assert any(page.direction == "mixed to mixed" for page in pages)
    played = _transcripts(recorded)
    for page in pages:
        flags = played[page.index].turns[0].request.useful
        assert (page.kind == "mixed") == (len(set(flags)) == 2)


def test_an_engine_without_noise_has_no_page_to_flip_to(tmp_path):
    script = {"kind": "scripted", "script": {}, "default": ["Ann did."]}
    recorded = _record(QuotePage(), tmp_path / "played", {"engine": script}, episodes=3)
    with pytest.raises(ValueError, match="'scripted' cannot return noisy documents"):
        flip_pages(QuotePage(), recorded, tmp_path / "flipped")


class Stops:
    """Plays like another agent and stops after a number of actions."""

    def __init__(self, actions):
        self.left = actions

    def act_batch(self, observations, infos):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return [FollowTheHops().act(observation) for observation in observations]


@pytest.mark.parametrize("actions", [3, 20, 30])
def test_an_interrupted_study_continues_without_replaying_pages(tmp_path, actions):
    recorded = _record(FollowTheHops(), tmp_path / "played", episodes=8, noise=0.5)
    recorded.setting["fingerprint"] = None
    whole = flip_pages(FollowTheHops(), recorded, tmp_path / "whole")
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        flip_pages(Stops(actions), recorded, folder, concurrency=3)
    for name in (PAGES_FILE, TRANSCRIPTS_FILE):
        with open(folder / name, "a") as torn:
            torn.write('{"index": ')
    done = (folder / PAGES_FILE).read_text().count("\n")
    assert (done > 0) == (actions > 3) and done < len(whole)
    assert flip_pages(FollowTheHops(), recorded, folder) == whole
    assert flip_pages(Stops(0), recorded, folder) == whole
    assert len(load_transcripts(folder / TRANSCRIPTS_FILE)) == len(whole)


def test_fewer_episodes_are_the_first_ones(tmp_path):
    _record(SearchOnce(), tmp_path, episodes=6)
    few = EvaluationFolder.read(tmp_path, episodes=2)
    assert len(flip_pages(SearchOnce(), few, tmp_path / "flipped")) == 2
    all_of_them = EvaluationFolder.read(tmp_path)
    assert len(flip_pages(SearchOnce(), all_of_them, tmp_path / "flipped")) == 6
    assert len(flip_pages(SearchOnce(), few, tmp_path / "flipped")) == 2


def test_an_agent_that_acts_differently_is_an_error(tmp_path):
    recorded = _record(SearchOnce(), tmp_path, episodes=3)
    with pytest.raises(ValueError, match=r"is not replayed as recorded: at turn 1 the agent wrote"):
        flip_pages(Ignores(), recorded, tmp_path / "flipped")
    assert not (tmp_path / "flipped" / PAGES_FILE).exists()


def test_other_agents_and_other_folders_are_refused(tmp_path):
    recorded = _record(SearchOnce(), tmp_path / "a", episodes=2, fingerprint="one")
    with pytest.raises(ValueError, match="not the one that was evaluated"):
        flip_pages(SearchOnce(), recorded, tmp_path / "flipped")
    with pytest.raises(ValueError, match="concurrency must be at least 1, got 0"):
        flip_pages(SearchOnce(), recorded, tmp_path / "flipped", concurrency=0)
    first, second = (
        _record(SearchOnce(), tmp_path / str(seed), episodes=2, seed=seed) for seed in (1, 2)
    )
    flip_pages(SearchOnce(), first, tmp_path / "flipped")
    with pytest.raises(ValueError, match="seed was 1, now 2"):
        flip_pages(SearchOnce(), second, tmp_path / "flipped")
    with pytest.raises(ValueError, match=f"no {SETTING_FILE}; expected the --output folder"):
        EvaluationFolder.read(tmp_path)


def test_failed_episodes_have_no_page_to_flip(tmp_path):
    recorded = _record(SearchOnce(), tmp_path / "a", episodes=4)
    path = tmp_path / "a" / TRANSCRIPTS_FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1] |= {"failure": "down", "reason": "failure"}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    recorded = EvaluationFolder.read(tmp_path / "a")
    pages = flip_pages(SearchOnce(), recorded, tmp_path / "flipped")
    assert [page.index for page in pages] == [0, 2, 3]
