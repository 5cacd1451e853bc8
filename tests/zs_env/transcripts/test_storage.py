"""Saving, loading, rescoring and forking transcripts."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zs_env.actions import MALFORMED_KINDS, Answer, Malformed, Search
from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.prompts import PROMPTS
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import Document, SearchPage, SearchRequest
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json
from zs_env.transcripts.storage import append_transcripts, fork, load_transcripts, rescore
from zs_env.transcripts.transcript import Transcript, Turn, Verdict

QUESTION = Question(id="q", text="Who wrote it?", answers=("Ada",), metadata={"hops": 2})


def _page(*texts):
    return SearchPage(tuple(map(Document, texts)), engine="test")


def _search(episode, query, *texts):
    request = episode.act(f"<search>{query}</search>")
    assert isinstance(request, SearchRequest)
    episode.receive(_page(*texts))
    return request


def _played(**settings):
    """Two equal searches, a slip between them, a third search and a wrong answer."""
    episode = Episode(QUESTION, noise_probability=0.5, seed=11, **settings)
    _search(episode, "author", "Nobody knows.", "It was A <search>nested</search>.")
    episode.act("I do not know what to do.")
    _search(episode, "author", "Ada wrote it.")
    _search(episode, "letters", "x" * 5000)
    episode.act("<answer>Eve</answer>")
    return episode.transcript()


def _finished(count=3):
    return [replace(_played(), seed=seed) for seed in range(count)]


# Any text at all, and the pieces that tear formats apart.
TEXT = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Zl", "Zp", "Co"]), max_size=5),
    st.sampled_from(["\x00", "\ud800", "\u2028", "\r\n", '"}', "\u202e", "</answer>", "NaN"]),
)
# A high and a low surrogate side by side are one character in JSON, in any language's.
TEXT = TEXT.filter(lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text))
JSON_SCALAR = st.one_of(TEXT, st.booleans(), st.integers(), st.floats(allow_nan=False))
ANSWERS = st.lists(TEXT, min_size=1, max_size=3).map(tuple)
DOCUMENT = st.builds(
    Document,
    text=TEXT,
    title=TEXT,
    useful=st.sampled_from([None, True, False]),
    engine=TEXT,
    rank=st.integers(0, 9),
    contains_answer=st.sampled_from([None, True, False]),
    truncated=st.booleans(),
    checks=st.lists(TEXT, max_size=2).map(tuple),
    metadata=st.lists(st.tuples(TEXT, JSON_SCALAR), max_size=2).map(tuple),
)
REQUEST = st.builds(
    SearchRequest,
    query=TEXT,
    question=st.none() | TEXT,
    answers=st.none() | ANSWERS,
    useful=st.lists(st.booleans(), max_size=3).map(tuple),
    seed=st.integers(0, 2**63 - 1),
)
TURN = st.builds(
    Turn,
    text=TEXT,
    action=st.builds(Search, TEXT)
    | st.builds(Answer, TEXT)
    | st.builds(Malformed, st.sampled_from(MALFORMED_KINDS)),
    request=st.none() | REQUEST,
    documents=st.lists(DOCUMENT, max_size=2).map(tuple),
    message=TEXT,
)
TRANSCRIPT = st.builds(
    Transcript,
    question=st.builds(
        Question,
        id=TEXT,
        text=TEXT,
        answers=ANSWERS,
        source=TEXT,
        prompt=st.none() | TEXT,
        paragraphs=st.lists(
            st.builds(Paragraph, title=TEXT, text=TEXT, is_gold=st.booleans()), max_size=2
        ).map(tuple),
        metadata=st.dictionaries(TEXT, JSON_SCALAR, max_size=2),
    ),
    prompt=TEXT,
    turns=st.lists(TURN, max_size=3).map(tuple),
    reason=st.sampled_from([None, "answer", "turn_limit", "failure"]),
    failure=st.none() | TEXT,
    noise_probability=st.floats(0, 1),
    seed=st.integers(0, 2**63 - 1),
    max_turns=st.integers(1, 99),
    num_documents=st.integers(1, 99),
    reward_terms=st.lists(st.tuples(TEXT, st.floats(-9, 9)), max_size=2).map(tuple),
    verdict=st.none() | st.builds(Verdict, st.floats(0, 1), TEXT, st.none() | TEXT),
)


@settings(max_examples=150, deadline=None)
@given(TRANSCRIPT)
def test_any_transcript_survives_its_json_line(transcript):
    line = json.dumps(transcript_to_json(transcript))
    assert "\n" not in line
    assert transcript_from_json(json.loads(line)) == transcript


def test_saved_transcripts_load_in_order_and_more_can_follow(tmp_path):
    path = tmp_path / "transcripts.jsonl"
    transcripts = _finished()
    append_transcripts(path, transcripts[:1])
    append_transcripts(path, transcripts[1:])
    assert load_transcripts(path) == transcripts


@pytest.mark.parametrize("torn", [1, 20, 300])
def test_an_incomplete_last_line_is_skipped_with_a_warning(tmp_path, torn):
    path = tmp_path / "transcripts.jsonl"
    transcripts = _finished()
    append_transcripts(path, transcripts)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:torn])
    with pytest.warns(UserWarning, match=r"transcripts\.jsonl, line 3: skipped"):
        assert load_transcripts(path) == transcripts[:2]
    with pytest.warns(UserWarning, match="removed the last line, which is incomplete"):
        append_transcripts(path, transcripts[2:])
    assert load_transcripts(path) == transcripts


def test_a_last_line_without_newline_is_complete(tmp_path):
    path = tmp_path / "transcripts.jsonl"
    transcripts = _finished(2)
    append_transcripts(path, transcripts[:1])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert load_transcripts(path) == transcripts[:1]
    append_transcripts(path, transcripts[1:])
    assert load_transcripts(path) == transcripts


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: got a transcript of schema None"),
        ('{"schema": 99}', "line 2: got a transcript of schema 99, expected 2"),
        ('{"schema": 2}', "line 2: got a transcript with a missing or malformed field.*'question'"),
    ],
)
def test_a_damaged_line_is_an_error_with_its_number(tmp_path, line, match):
    path = tmp_path / "transcripts.jsonl"
    append_transcripts(path, _finished(1))
    with path.open("a") as file:
        file.write(line + "\n")
    append_transcripts(path, _finished(1))
    with pytest.raises(ValueError, match=match):
        load_transcripts(path)


def test_rescoring_changes_the_reward_and_nothing_else():
    transcript = _played()
    assert transcript.reward == 0.0
    again = rescore(transcript, lambda played: {"searches": -0.1 * played.num_searches})
    assert again.reward == pytest.approx(-0.3)
    assert replace(again, reward_terms=transcript.reward_terms) == transcript


def test_a_failed_episode_has_no_reward_after_rescoring():
    episode = Episode(QUESTION)
    episode.act("<search>author</search>")
    episode.fail("down")
    for transcript in (episode.transcript(), replace(_played(), reason=None)):
        assert rescore(transcript, lambda _: {"free": 1.0}).reward_terms == ()


def test_a_fork_with_the_same_page_gives_the_same_episode():
    transcript = _played()
    for number in (0, 2, 3):
        turn = transcript.turns[number]
        episode = fork(transcript, number)
        assert episode.pending == turn.request
        episode.receive(SearchPage(turn.documents))
        for later in transcript.turns[number + 1 :]:
            outcome = episode.act(later.text)
            if isinstance(outcome, SearchRequest):
                assert outcome == later.request
                episode.receive(SearchPage(later.documents))
        assert episode.transcript().text == transcript.text
        assert episode.transcript().reason == "answer"


@pytest.mark.parametrize("settings", [{"noise_draw": "document"}, {"flipped_turn": 0}])
def test_a_fork_repeats_the_recorded_request(settings):
    flipped = settings.pop("flipped_turn", None)
    config = EpisodeConfig(**settings)
    episode = Episode(QUESTION, config=config, noise_probability=0.5, seed=3, flipped_turn=flipped)
    episode.act("<search>author</search>")
    episode.receive(_page())
    transcript = episode.transcript()
    assert fork(transcript, 0).pending == transcript.turns[0].request


def test_a_fork_after_equal_queries_repeats_the_next_recorded_request():
    episode = Episode(QUESTION, noise_probability=0.5, seed=5)
    requests = [_search(episode, query, "page") for query in ("a", "a", "b", "a", "a")]
    assert len({request.seed for request in requests}) == 5
    transcript = episode.transcript()
    for number, request in enumerate(requests):
        forked = fork(transcript, number)
        assert forked.pending == request
        forked.receive(_page("page"))
        for later in requests[number + 1 :]:
            assert _search(forked, later.query, "page") == later


def test_a_fork_continues_with_another_page():
    transcript = _played()
    episode = fork(transcript, 2, page=_page("It was Ada."))
    assert episode.turns[:2] == list(transcript.turns[:2])
    assert episode.text.startswith(transcript.prompt + transcript.turns[0].text)
    assert "It was Ada." in episode.message
    assert episode.pending is None
    # "author" was searched twice before, so the third search has another seed than the first.
    third = episode.act("<search>author</search>")
    assert isinstance(third, SearchRequest)
    assert third.seed not in {turn.request.seed for turn in transcript.turns if turn.request}
    episode.receive(_page())
    episode.act("<answer>Ada</answer>")
    assert episode.transcript().reward == 1.0
    assert episode.transcript().num_searches == 3


def test_the_restored_turns_of_a_fork_do_not_depend_on_the_config():
    config = EpisodeConfig(prompt=PROMPTS["bare"], limits=Limits(max_action_chars=30))
    episode = Episode(QUESTION, config=config)
    episode.act("<search>a</search>" + "x" * 50)  # too long: recorded cut, and no search
    _search(episode, "b", "page")
    transcript = episode.transcript()
    assert fork(transcript, 1).text == transcript.prompt + "".join(
        turn.text + turn.message for turn in transcript.turns[:1]
    )


def test_only_a_search_that_was_sent_can_be_forked():
    transcript = _played()
    for number in (1, 4, 5, -1):
        with pytest.raises(ValueError, match=r"expected one of the turns \[0, 2, 3\]"):
            fork(transcript, number)
    with pytest.raises(ValueError, match="allow the turns"):
        fork(transcript, 2, config=EpisodeConfig(max_turns=3))


def test_only_a_new_episode_can_be_restored():
    transcript = _played()
    with pytest.raises(RuntimeError, match="has begun"):
        fork(transcript, 2).restore(transcript.prompt, transcript.turns)
