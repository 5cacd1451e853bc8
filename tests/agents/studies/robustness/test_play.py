"""The suite is paired and resumable, and versions are not mixed."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from agents.baselines import FollowTheHops, QuotePage, SearchOnce
from agents.evaluation.evaluation_folder import TRANSCRIPTS_FILE
from agents.studies.robustness.play import evaluation_folder, run_robustness
from agents.studies.robustness.scores import score_all
from agents.studies.robustness.spec import (
    ABSTENTION,
    LATEST,
    corpus_set,
    with_abstention,
    world_sets,
)
from zs_env.config import make_env
from zs_env.prompts import PROMPTS
from zs_env.transcripts.storage import load_transcripts

SMALL = replace(LATEST, levels=(0.0, 0.5, 1.0))
WORLDS = world_sets(SMALL, 5)


def _figures(cells):
    return [
        (cell.agent, cell.set.name, cell.kind, cell.noise, cell.evaluation.results)
        for cell in cells
    ]


def _transcripts(output, agent, one, kind, noise):
    folder = evaluation_folder(output, agent, one.name, kind, noise)
    return load_transcripts(folder / TRANSCRIPTS_FILE)


class NeverPlays(SearchOnce):
    fingerprint = "one"

    def act(self, observation):
        raise AssertionError("everything was played before")


class Named(SearchOnce):
    fingerprint = "one"


def test_version_1_is_frozen():
    """Other worlds, questions, seeds, levels or pages need another version."""
    digest = sha256(json.dumps(LATEST.to_json(), sort_keys=True).encode())
    for one in world_sets(LATEST):
        for kind in LATEST.kinds:
            env = make_env(**one.env_kwargs, noise=0.5, noise_kinds=kind)
            for number in range(3):
                env.reset(seed=number, options={"question_index": number})
                question = env.transcript().question
                env.step(f"<search>{question.text}</search>")
                digest.update(question.text.encode())
                digest.update(env.transcript().turns[-1].message.encode())
    assert LATEST.version == "robustness-v1"
    assert digest.hexdigest()[:16] == "7fabb8c498d26c09"


def test_every_kind_and_level_is_played_with_the_same_questions_and_seeds(tmp_path):
    agents = {"a": SearchOnce, "b": QuotePage}
    cells = run_robustness(agents, WORLDS, tmp_path, spec=SMALL)
    assert len(cells) == 2 * 2 * 5 * 3
    assert {(cell.kind, cell.noise) for cell in cells} == {
        (kind, noise) for kind in SMALL.kinds for noise in SMALL.levels
    }
    for one in WORLDS:
        for kind in SMALL.kinds:
            for noise in SMALL.levels:
                first, second = (_transcripts(tmp_path, x, one, kind, noise) for x in "ab")
                # Both agents search for the question and differ only in their answers.
                assert [x.turns[0] for x in first] == [x.turns[0] for x in second]
                assert [x.seed for x in first] == [x.seed for x in second]
        # The same pages are noisy for every kind.
        played = [_transcripts(tmp_path, "a", one, kind, 0.5) for kind in SMALL.kinds]
        requests = [[x.turns[0].request for x in some] for some in played]
        useful = [[x and x.useful for x in some] for some in requests]
        assert useful == [useful[0]] * len(useful)


def test_equal_agents_have_equal_episodes(tmp_path):
    cells = run_robustness({"a": Named, "b": Named}, WORLDS[:1], tmp_path, spec=SMALL)
    half = len(cells) // 2
    for first, second in zip(cells[:half], cells[half:], strict=True):
        assert first.evaluation.results == second.evaluation.results


def test_a_wrong_answer_is_counted_as_the_transcripts_show_it(tmp_path):
    cells = run_robustness({"a": SearchOnce}, WORLDS[:1], tmp_path, spec=SMALL)
    shown = misled = 0
    for noise in SMALL.levels:
        for transcript in _transcripts(tmp_path, "a", WORLDS[0], "injected", noise):
            wrong = {
                dict(document.metadata).get("wrong_answer")
                for turn in transcript.turns
                for document in turn.documents
                if document.noise_kind == "injected"
            }
            shown += bool(wrong)
            misled += transcript.prediction in wrong
    assert 0 < misled <= shown
    score = next(one for one in score_all(cells) if one.kind == "injected" and one.noise is None)
    assert score.misled.mean == pytest.approx(misled / shown)


def test_resumed_equals_fresh_and_stored_episodes_are_not_played_again(tmp_path):
    run_robustness({"a": Named}, world_sets(SMALL, 2), tmp_path / "resumed", spec=SMALL)
    agents = {"a": Named, "hops": FollowTheHops}
    resumed = run_robustness(agents, WORLDS, tmp_path / "resumed", spec=SMALL)
    fresh = run_robustness(agents, WORLDS, tmp_path / "fresh", spec=SMALL)
    assert _figures(resumed) == _figures(fresh)
    again = run_robustness({"a": NeverPlays}, WORLDS, tmp_path / "fresh", spec=SMALL)
    assert _figures(again) == _figures(fresh)[: len(again)]
    with pytest.raises(AssertionError, match="played before"):
        run_robustness({"a": NeverPlays}, WORLDS, tmp_path / "fresh", spec=SMALL, fresh=True)


def test_another_version_or_prompt_or_corpus_is_refused(tmp_path):
    def run(spec=SMALL, sets=WORLDS[:1], **settings):
        return run_robustness({"a": Named}, sets, tmp_path, spec=spec, **settings)

    run()
    with pytest.raises(ValueError, match=r"version was 'robustness-v1', now 'robustness-v2'"):
        run(replace(SMALL, version="robustness-v2"))
    with pytest.raises(ValueError, match="allow_abstain was False, now True"):
        run(allow_abstain=True)
    moved = replace(WORLDS[0], env_kwargs=WORLDS[1].env_kwargs)
    with pytest.raises(ValueError, match="another set 'world-101'"):
        run(sets=[moved])
    assert run(replace(SMALL, version="robustness-v2"), fresh=True)


def test_the_prompt_allows_unknown(tmp_path):
    run_robustness({"a": Named}, WORLDS[:1], tmp_path, spec=SMALL, allow_abstain=True)
    (first, *_) = _transcripts(tmp_path, "a", WORLDS[0], "empty", 1.0)
    assert f"{ABSTENTION}Question: " in first.prompt
    assert with_abstention("bare") == f"{ABSTENTION}{PROMPTS['bare'].text}"
    assert with_abstention("{question} is asked") == f"{ABSTENTION}{{question}} is asked"


def test_the_corpus_has_all_kinds(tmp_path):
    pytest.importorskip("bm25s")
    rows = [
        {"id": str(n), "question": f"Who built tower {n}?", "answers": [name]}
        for n, name in enumerate(["Ann Lee", "Bob Roy", "Cid Fox"])
    ]
    texts = [f"{row['answers'][0]} built tower {row['id']} of stone." for row in rows]
    texts += [f"The tower number {n} is tall." for n in range(20)]
    questions, passages = tmp_path / "q.jsonl", tmp_path / "p.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    passages.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    kwargs = {
        "questions": {"kind": "file", "path": str(questions)},
        "engine": {
            "kind": "corpus",
            "retriever": {"kind": "bm25", "passages": str(passages)},
        },
    }
    one = corpus_set(SMALL, kwargs)
    cells = run_robustness({"a": SearchOnce}, [one], tmp_path / "out", spec=SMALL)
    assert {cell.set.group for cell in cells} == {"corpus"}
    assert all(len(cell.evaluation.results) == 3 for cell in cells)
    kinds = {
        document.noise_kind
        for cell in cells
        if cell.noise == 1.0
        for transcript in load_transcripts(cell.evaluation.folder / TRANSCRIPTS_FILE)
        for turn in transcript.turns
        for document in turn.documents
    }
    assert {"irrelevant", "misleading", "injected"} <= kinds
