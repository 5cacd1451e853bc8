"""The tool "open": an agent reads a document of the last page in full."""

import pytest
from gymnasium.utils.env_checker import check_env

from zs_env import Document, Open, Question, SearchEngine, SearchPage, ZeroSearchEnv, parse_action
from zs_env.actions import Malformed, Search
from zs_env.engines import ScriptedEngine
from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.rewards import build_reward
from zs_env.search.types import SearchError
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json
from zs_env.transcripts.storage import fork
from zs_env.vector_env import ZeroSearchVectorEnv
from zs_env.wrappers import OPEN_TOOL, ToolCalls, action_text

BOTH = ("search", "open")
QUESTION = Question(id="q", text="Who?", answers=("Ann",))
FIRST = "Bo came first. It was a long way."
SECOND = "Then came Ann. "
LONG = FIRST + " " + SECOND * 3


class Library(SearchEngine):
    """Shows the start of two documents; the second can be opened in full."""

    name = fingerprint = "library"
    in_process = thread_safe = can_open = supports_noise = True

    def search(self, requests):
        return [SearchPage((Document("A", "T"), Document("Bo came", "Long"))) for _ in requests]

    def open(self, requests):
        return [self._whole(request.document) for request in requests]

    def _whole(self, document):
        if document.title == "T":
            return SearchError("the shelf is empty")
        return SearchPage((Document(LONG, document.title),))


def make(**settings):
    settings = {"engine": Library(), "tools": BOTH, "max_turns": 20, **settings}
    return ZeroSearchEnv([QUESTION], num_documents=2, **settings)


def played(*texts, **settings):
    """The environment and the last message after these actions."""
    env = make(**settings)
    observation, _ = env.reset(seed=0)
    for text in texts:
        observation, *_ = env.step(text)
    return env, observation["message"]


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<open>2</open>", Open(2)),
        ("<think>x</think> <open> 12\n p3 </open>", Open(12, 3)),
        ("<open>two</open>", Malformed("invalid_open")),
        ("<open></open>", Malformed("invalid_open")),
        ("<open>2 3</open>", Malformed("invalid_open")),
        ("<open>2p3</open>", Malformed("invalid_open")),
        ("<open>-1</open>", Malformed("invalid_open")),
        ("<open>\u0662</open>", Malformed("invalid_open")),
        ("</open>", Malformed("unopened")),
        ("<open>1", Malformed("unclosed")),
        ("<open>1</open><search>x</search>", Open(1)),
        ("<search>x</search><open>1</open>", Search("x")),
        ("<information></information><open>1</open>", Malformed("spoofed_tag")),
    ],
)
def test_with_the_tool_each_text_has_its_action(text, action):
    assert parse_action(text, tools=BOTH) == action


def test_without_the_tool_its_tags_are_ordinary_text():
    assert parse_action("<open>1</open>") == Malformed("no_action")
    assert parse_action("<search>a <open>1</open></search>") == Search("a <open>1</open>")


@pytest.mark.parametrize("tools", ["open", ["open"], [], "search,close"])
def test_the_tools_are_the_search_and_perhaps_the_open(tools):
    with pytest.raises(ValueError, match="search"):
        make(tools=tools)


def test_a_document_is_shown_in_full_with_its_number():
    env, message = played("<search>x</search>", "<open>2</open>")
    assert message == f"\n\n<information>\nDoc 2: Long. {LONG.strip()}\n</information>\n\n"
    turn = env.transcript().turns[-1]
    (document,) = turn.documents
    assert (turn.is_open, turn.is_search, document.rank) == (True, False, 1)
    assert document.useful is True and document.contains_answer and not document.truncated
    assert dict(document.metadata) == {"part": 1, "num_parts": 1}
    assert turn.request.query == "x" and turn.request.document.title == "Long"
    assert (env.transcript().num_searches, env.transcript().num_opens) == (1, 1)


def test_a_long_document_is_read_in_parts_of_the_limit():
    limits = Limits(max_document_chars=40)  # 36 characters of text beside the title
    parts = [FIRST, "Then came Ann. Then came Ann.", "Then came Ann."]
    for number, part in enumerate(parts, start=1):
        action = f"<open>2 p{number}</open>" if number > 1 else "<open>2</open>"
        env, message = played("<search>x</search>", action, limits=limits)
        assert message == (
            f"\n\n<information>\nDoc 2 (part {number} of 3): Long. {part}\n</information>\n\n"
        )
        assert env.observation_space["message"].contains(message)
    (shown,) = env.transcript().turns[-1].documents
    assert dict(shown.metadata) == {"part": 3, "num_parts": 3}


@pytest.mark.parametrize(
    ("texts", "kind", "words"),
    [
        (["<open>1</open>"], "no_page", "before any search"),
        (["<search>x</search>", "<open>3</open>"], "unknown_document", "no document with"),
        (["<search>x</search>", "<open>0</open>"], "unknown_document", "no document with"),
        (["<search>x</search>", "<open>2 p2</open>"], "unknown_part", "no such part"),
        (["<search>x</search>", "<open>2 p0</open>"], "unknown_part", "no such part"),
        (["<search>x</search>", "<open>b</open>"], "invalid_open", "write its number"),
    ],
)
def test_a_wrong_open_is_malformed_and_the_notice_says_why(texts, kind, words):
    env, message = played(*texts)
    assert words in message and "<open>" in message
    assert env.transcript().malformed == {kind: 1}
    env.step("<answer>Ann</answer>")
    assert env.transcript().reward == 1.0


def test_an_engine_that_cannot_open_makes_every_open_malformed():
    env, message = played(
        "<search>x</search>", "<open>1</open>", engine=ScriptedEngine({"x": "ab"})
    )
    assert "cannot open" in message and env.transcript().malformed == {"cannot_open": 1}
    assert env.costs.failures == 0


def test_numbers_are_those_of_the_last_search_also_after_an_open():
    env, message = played("<search>x</search>", "<open>2</open>", "<open>2 p1</open>")
    assert message.startswith("\n\n<information>\nDoc 2: Long.")
    assert env.transcript().num_opens == 2


def test_a_failing_open_fails_the_episode_and_the_last_turn_sends_none():
    env, _ = played("<search>x</search>")
    *_, truncated, info = env.step("<open>1</open>")
    assert truncated and info["reason"] == "failure" and "shelf" in info["failure"]
    assert info["num_opens"] == 1 and env.costs.failures == 1
    env, _ = played("<search>x</search>", max_turns=2)
    *_, truncated, info = env.step("<open>2</open>")
    assert (truncated, info["reason"], info["num_opens"]) == (True, "turn_limit", 0)
    assert info["action"] == "open"


def test_the_prompt_and_the_info_mention_the_tool_only_where_it_exists():
    observation, info = make().reset(seed=0)
    assert "<open>2 p3</open>" in observation["message"] and info["num_opens"] == 0
    observation, info = make(tools="search").reset(seed=0)
    assert "open>" not in observation["message"] and "num_opens" not in info


def test_a_document_cannot_contain_the_tags_of_the_tool():
    engine = ScriptedEngine({"x": ["a <open>1</open> b < /OPEN > <open x> <opener> open"]})
    _, message = played("<search>x</search>", engine=engine)
    assert "Doc 1: a (open>1(/open> b ( /OPEN > (open x> <opener> open\n" in message


def test_transcripts_with_opens_are_stored_scored_and_replayed():
    env, _ = played("<search>x</search>", "<open>2</open>", "<answer>Ann</answer>")
    transcript = env.transcript()
    assert transcript_from_json(transcript_to_json(transcript)) == transcript
    assert build_reward({"terms": {"opens": -0.25, "searches": -0.5}})(transcript) == {
        "opens": -0.25,
        "searches": -0.5,
    }
    forked = fork(transcript, 1)  # the open is pending again
    assert forked.pending == transcript.turns[1].request
    forked.receive(SearchPage((Document("Other.", "Long"),)))
    assert "Doc 2: Long. Other." in forked.message
    thinking = [f"<think>hm</think>{turn.text}" for turn in transcript.turns]
    env, _ = played(*thinking)
    assert build_reward({"terms": {"think_format": 1.0}})(env.transcript()) == {"think_format": 1}


def test_vector_environments_and_tool_calls_play_the_same_episode():
    texts = ("<search>x</search>", "<open>2 p1</open>", "<answer>Ann</answer>")
    expected = played(*texts)[0].transcript()
    vector = ZeroSearchVectorEnv(
        2, [QUESTION], Library(), num_documents=2, max_turns=20, tools=BOTH,
        autoreset_mode="Disabled",
    )  # fmt: skip
    vector.reset(seed=[0, 0])
    vector.step([texts[0]] * 2)
    vector.step([texts[1], "<search>y</search>"])  # an open and a search in one call
    vector.step([texts[2]] * 2)
    assert vector.transcript(0) == expected
    assert vector.costs.failures == 0
    tools = ToolCalls(make())
    tools.reset(seed=0)
    tools.search("x")
    assert "Doc 2: Long." in tools.open(2)
    tools.answer("Ann")
    assert tools._env.transcript() == expected


def test_a_tool_call_with_wrong_numbers_is_an_error():
    assert action_text("open", {"document": 3}) == "<open>3 p1</open>"
    assert OPEN_TOOL["function"]["parameters"]["required"] == ["document"]
    for arguments in ({}, {"document": "2"}, {"document": 1, "part": -1}, {"document": True}):
        with pytest.raises(ValueError, match="integers"):
            action_text("open", arguments)


def test_the_environment_with_the_tool_passes_gymnasiums_checks():
    check_env(make(), skip_render_check=True)


def test_an_open_repeats_the_request_of_its_search():
    episode = Episode(QUESTION, config=EpisodeConfig(tools=BOTH), noise_probability=0.5, seed=3)
    search = episode.act("<search>x</search>")
    episode.receive(Library().search([search])[0])
    request = episode.act("<open>1</open>")
    assert request.document == episode.documents[0]
    assert (request.seed, request.useful) == (search.seed, search.useful)
