"""A search with several queries: one section each, noise for each, one call of the engine."""

import pytest
from gymnasium.utils.env_checker import check_env

from zs_env import Document, Malformed, Question, Search, SearchEngine, SearchPage, ZeroSearchEnv
from zs_env.actions import parse_action
from zs_env.engines import CachedEngine, MeteredEngine, MixtureEngine
from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.search.engine import search_checked
from zs_env.search.types import NOISE_KINDS, SearchError
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json
from zs_env.transcripts.storage import fork
from zs_env.vector_env import ZeroSearchVectorEnv

QUESTION = Question(id="q", text="Who?", answers=("Ann",))
THREE = "<search>a b\n c \n\nd</search>"


class Echo(SearchEngine):
    """Returns as many documents as the query is long, useful or noisy, and keeps its batches."""

    name = fingerprint = "echo"
    in_process = thread_safe = supports_noise = can_open = True
    noise_kinds = NOISE_KINDS

    def __init__(self):
        self.batches = []

    def search(self, requests):
        self.batches.append([one.query for one in requests])
        return [self._page(one) for one in requests]

    def open(self, requests):
        self.batches.append([(one.query, one.document.rank) for one in requests])
        return [SearchPage((Document(f"all of {one.document.text}"),)) for one in requests]

    def _page(self, request):
        if request.query == "fail":
            return SearchError("no page")
        flags = request.expected[: len(request.query)] if request.query != "none" else ()
        return SearchPage(tuple(Document(f"{request.query} {flag}") for flag in flags))


def make(**settings):
    settings = {"engine": Echo(), "max_queries": 3, "num_documents": 2, "max_turns": 9, **settings}
    return ZeroSearchEnv([QUESTION], **settings)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (THREE, Search("a b\nc\nd")),
        ("<search>a</search>", Search("a")),
        ("<search>a\na\r\n a </search>", Search("a")),
        ("<search>\n \n</search>", Malformed("empty_query")),
        ("<search>a\nb\nc\nd</search>", Malformed("too_many_queries")),
    ],
)
def test_each_line_is_a_query(text, action):
    assert parse_action(text, max_queries=3) == action


def test_with_one_query_the_lines_of_a_search_are_one_query():
    assert parse_action(THREE) == Search("a b c d")


def test_a_page_has_a_section_for_each_query_and_numbers_its_documents():
    env = make()
    env.reset(seed=0)
    observation, *_, info = env.step("<search>a b\nnone\nc</search>")
    assert observation["message"] == (
        "\n\n<information>\n"
        "Query: a b\nDoc 1: a b True\nDoc 2: a b True\n"
        "Query: none\nNo documents were found.\n"
        "Query: c\nDoc 3: c True\n"
        "</information>\n\n"
    )
    assert env._engine.engine.batches == [["a b", "none", "c"]]
    assert [one.rank for one in info["documents"]] == [0, 1, 2]
    assert [dict(one.metadata) for one in info["documents"]] == [
        {"query": "a b"}, {"query": "a b"}, {"query": "c"},
    ]  # fmt: skip
    assert observation["documents"] == ("a b True", "a b True", "c True", "", "", "")
    assert (info["num_searches"], env.costs.searches, env.costs.batches) == (1, 3, 1)


def test_a_single_query_has_the_page_and_the_request_of_one_query():
    pages, requests = [], []
    for max_queries in (1, 3):
        env = make(max_queries=max_queries, noise=0.5)
        env.reset(seed=0)
        pages.append(env.step("<search>a b</search>")[0]["message"])
        requests.append(env.transcript().turns[0].request)
    assert pages[0] == pages[1] and requests[0] == requests[1]


@pytest.mark.parametrize("draw", ["search", "document"])
def test_each_query_has_the_noise_and_the_seed_that_it_has_alone(draw):
    settings = {"noise_draw": draw, "num_documents": 2}
    kinds = {"noise_kinds": (("irrelevant", 1.0), ("misleading", 1.0))}
    drawn = set()
    for seed in range(20):
        config = EpisodeConfig(max_queries=3, **settings, **kinds)
        together = Episode(QUESTION, config=config, noise_probability=0.5, seed=seed).act(THREE)
        alone = [
            Episode(
                QUESTION,
                config=EpisodeConfig(**settings, **kinds),
                noise_probability=0.5,
                seed=seed,
            ).act(f"<search>{query}</search>")
            for query in ("a b", "c", "d")
        ]
        assert list(together.queries) == alone
        assert together.useful == sum((one.useful for one in alone), ())
        drawn.add(together.useful)
    assert len(drawn) > 4  # independent draws


def test_empty_noise_leaves_out_the_documents_of_its_query_only():
    for seed in range(9):
        env = make(noise=0.5, noise_kinds="empty")
        env.reset(seed=seed)
        env.step("<search>a b\nc d</search>")
        (turn,) = env.transcript().turns
        assert len(turn.documents) == sum(turn.request.useful)
        assert turn.request.num_left_out == 4 - len(turn.documents)


def test_a_repeated_query_is_another_search():
    env = make(noise=0.5)
    env.reset(seed=0)
    env.step(THREE)
    env.step("<search>d\nx</search>")
    first, second = (turn.request.queries for turn in env.transcript().turns)
    assert first[2].query == second[0].query and first[2].seed != second[0].seed


def test_too_many_queries_are_malformed_and_a_failing_one_fails_the_episode():
    env = make()
    env.reset(seed=0)
    observation, *_ = env.step("<search>a\nb\nc\nd</search>")
    assert "too many queries" in observation["message"]
    *_, truncated, info = env.step("<search>a\nfail</search>")
    assert truncated and info["reason"] == "failure" and "no page" in info["failure"]


def test_the_prompt_says_how_many_queries_are_allowed():
    assert "up to 3 queries" in make().reset(seed=0)[0]["message"]
    assert "queries" not in make(max_queries=1).reset(seed=0)[0]["message"]


def test_transcripts_are_stored_and_replayed():
    env = make(noise=0.5)
    env.reset(seed=1)
    env.step(THREE)
    env.step(THREE)
    env.step("<answer>Ann</answer>")
    transcript = env.transcript()
    assert transcript_from_json(transcript_to_json(transcript)) == transcript
    forked = fork(transcript, 1)
    assert forked.pending == transcript.turns[1].request
    forked.receive(search_checked(Echo(), [forked.pending])[0])
    assert forked.turns[1].message == transcript.turns[1].message
    flipped = transcript.turns[0].request.flipped()
    assert flipped.queries[0].useful == tuple(
        not one for one in flipped.flipped().queries[0].useful
    )


def test_wrappers_give_the_page_of_the_engine():
    request = Episode(
        QUESTION, config=EpisodeConfig(max_queries=3), noise_probability=0.5, seed=0
    ).act(THREE)
    expected = search_checked(Echo(), [request])
    for wrap in (CachedEngine, MeteredEngine, lambda engine: MixtureEngine([engine])):
        engine = wrap(Echo())
        assert search_checked(engine, [request]) == search_checked(engine, [request]) == expected


def test_a_vector_environment_sends_the_queries_of_all_in_one_call():
    engine = Echo()
    vector = ZeroSearchVectorEnv(2, [QUESTION], engine, max_queries=3, num_documents=2)
    vector.reset(seed=[0, 0])
    vector.step([THREE, "<search>e\nf</search>"])
    assert engine.batches == [["a b", "c", "d", "e", "f"]]
    env = make()
    env.reset(seed=0)
    env.step(THREE)
    assert vector.transcript(0).turns == env.transcript().turns


def test_a_document_of_a_section_is_opened_as_that_of_its_query():
    env = make(tools="search,open")
    env.reset(seed=0)
    env.step("<search>a b\nc d</search>")
    observation, *_ = env.step("<open>4</open>")
    assert "Doc 4: all of c d True" in observation["message"]
    assert env._engine.engine.batches[-1] == [("c d", 1)]
    assert env.transcript().turns[1].documents[0].rank == 3


def test_the_environment_passes_gymnasiums_checks_with_the_longest_page():
    env = make(limits=Limits(max_action_chars=60, max_document_chars=9))
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    queries = "\n".join(letter * 13 for letter in "abc")
    observation, *_ = env.step(f"<search>{queries}</search>")
    assert env.observation_space.contains(observation)
