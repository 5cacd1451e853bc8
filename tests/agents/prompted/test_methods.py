"""The prompted agents with a scripted generator."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.agent import AgentFailure
from agents.evaluation import evaluate
from agents.prompted import (
    ChainOfThought,
    DirectAnswer,
    Instruct,
    PromptedAgent,
    RAgent,
    RetrieveOnce,
    SearchO1,
)
from agents.prompted.methods import METHODS
from zs_env import Malformed, Question
from zs_env.env import ZeroSearchEnv
from zs_env.prompts import INSTRUCT_PROMPT
from zs_env.simulator import ScriptedTextGenerator
from zs_env.text.thinking import has_response

QUESTION = Question(id="q", text="Who built the {tower} in Lund?", answers=("Ann Lee",))


class Replies:
    """Generates the given texts in order, and keeps the prompts."""

    def __init__(self, *texts: str) -> None:
        self.prompts: list[str] = []
        self.seeds: list[int] = []
        self._texts = iter(texts)

    def __call__(self, prompt) -> str:
        self.prompts.append(prompt.text)
        self.seeds.append(prompt.seed)
        return next(self._texts)


@pytest.fixture
def passages(tmp_path):
    path = tmp_path / "passages.jsonl"
    rows = [
        {"id": "1", "title": "Lund", "text": "The tower in Lund was built by Ann Lee."},
        {"id": "2", "title": "Ann Lee", "text": "Ann Lee was born in Malmo."},
        {"id": "3", "title": "Malmo", "text": "Malmo is a port."},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def play(method, replies, passages):
    """The transcript of one question over BM25."""
    pytest.importorskip("bm25s")
    from zs_env.engines import BM25Engine

    env = ZeroSearchEnv([QUESTION], BM25Engine(passages), num_documents=2)
    agent = PromptedAgent(method, ScriptedTextGenerator(replies))
    observation, _ = env.reset(seed=0)
    over = False
    while not over:
        observation, _, terminated, truncated, _ = env.step(agent.act(observation))
        over = terminated or truncated
    return env.transcript()


def test_a_direct_answer_is_one_call_and_no_search(passages):
    replies = Replies("**Ann Lee**\nShe built it.")
    transcript = play(DirectAnswer(), replies, passages)
    assert [turn.text for turn in transcript.turns] == ["<answer>Ann Lee</answer>"]
    assert len(replies.prompts) == 1 and QUESTION.text in replies.prompts[0]
    assert transcript.scores()["exact_match"] == 1.0


def test_a_chain_of_thought_becomes_the_thought(passages):
    transcript = play(ChainOfThought(), Replies("Lund is old.\nAnswer: Ann Lee"), passages)
    assert [turn.text for turn in transcript.turns] == [
        "<think>Lund is old.\nAnswer: Ann Lee</think>\n<answer>Ann Lee</answer>"
    ]


def test_rag_searches_the_question_and_reads_that_page(passages):
    replies = Replies("Ann Lee.")
    transcript = play(RetrieveOnce(), replies, passages)
    assert [turn.request and turn.request.query for turn in transcript.turns] == [
        QUESTION.text,
        None,
    ]
    assert "Doc 1: Lund. The tower in Lund was built by Ann Lee." in replies.prompts[0]
    assert transcript.prediction == "Ann Lee"


def test_ragent_sees_all_its_searches(passages):
    replies = Replies(
        "Who was it?\nSearch: tower in Lund\nAnswer: made up",
        "Search: Ann Lee born",
        "I know it. Answer it.\nAnswer: Malmo",
    )
    transcript = play(RAgent(), replies, passages)
    assert [turn.text for turn in transcript.turns] == [
        "<think>Who was it?</think>\n<search>tower in Lund</search>",
        "<search>Ann Lee born</search>",
        "<think>I know it. Answer it.</think>\n<answer>Malmo</answer>",
    ]
    assert "search 5 more times" in replies.prompts[0]
    assert replies.prompts[0].endswith(f"Question: {QUESTION.text}\n")
    assert "search 3 more times" in replies.prompts[2]
    notes = replies.prompts[2].partition(f"Question: {QUESTION.text}\n")[2]
    assert notes.startswith("Who was it?\nSearch: tower in Lund\nDoc 1: Lund.")
    assert "Search: Ann Lee born" in notes


def test_ragent_answers_when_its_searches_are_used_up(passages):
    replies = Replies("Search: a", "Search: b", "Search: c")
    transcript = play(RAgent(max_searches=2), replies, passages)
    assert transcript.num_searches == 2 and transcript.prediction == "Search: c"
    assert "Now answer" in replies.prompts[2]


def test_ragent_searches_for_the_question_if_the_first_turn_has_no_move(passages):
    replies = Replies("I wonder who.", "It was Ann.\nAnn Lee")
    transcript = play(RAgent(), replies, passages)
    assert [turn.text for turn in transcript.turns] == [
        f"<think>I wonder who.</think>\n<search>{QUESTION.text}</search>",
        "<think>It was Ann.\nAnn Lee</think>\n<answer>Ann Lee</answer>",
    ]


def test_search_o1_summarizes_a_page_before_it_reasons(passages):
    replies = Replies(
        "The tower comes first.\nSearch: tower in Lund",
        "Ann Lee built the tower.",
        "Now her birth place.\nSearch: Ann Lee born",
        "She was born in Malmo.",
        "So it is done.\nAnswer: Malmo",
    )
    transcript = play(SearchO1(), replies, passages)
    assert [turn.text for turn in transcript.turns] == [
        "<think>The tower comes first.</think>\n<search>tower in Lund</search>",
        "<think>Found: Ann Lee built the tower.\nNow her birth place.</think>\n"
        "<search>Ann Lee born</search>",
        "<think>Found: She was born in Malmo.\nSo it is done.</think>\n<answer>Malmo</answer>",
    ]
    refine, reason = replies.prompts[3:]
    so_far = (
        "The tower comes first.\nSearch: tower in Lund\nFound: Ann Lee built the tower.\n"
        "Now her birth place.\nSearch: Ann Lee born"
    )
    assert so_far in refine and "Ann Lee. Ann Lee was born in Malmo." in refine
    # The reasoning never holds a raw page.
    assert f"{so_far}\nFound: She was born in Malmo." in reason and "Doc 1" not in reason


def test_search_o1_searches_for_the_question_if_the_first_turn_has_no_move(passages):
    replies = Replies("I wonder who.", "Ann built it.", "It was Ann.\nAnn Lee")
    transcript = play(SearchO1(), replies, passages)
    assert [turn.text for turn in transcript.turns] == [
        f"<think>I wonder who.</think>\n<search>{QUESTION.text}</search>",
        "<think>Found: Ann built it.\nIt was Ann.\nAnn Lee</think>\n<answer>Ann Lee</answer>",
    ]


def test_search_o1_has_a_maximum_of_searches(passages):
    replies = Replies("Search: a", "nothing", "Search: b\nAnswer: Ann Lee")
    transcript = play(SearchO1(max_searches=1), replies, passages)
    assert transcript.num_searches == 1 and transcript.prediction == "Ann Lee"
    assert "You cannot search any more" in replies.prompts[2]


def test_every_call_of_an_episode_has_its_own_seed(passages):
    texts = ("Search: a", "x", "Search: b", "x", "Answer: c")
    first, second = Replies(*texts), Replies(*texts)
    play(SearchO1(), first, passages)
    play(SearchO1(), second, passages)
    assert first.seeds == second.seeds and len(set(first.seeds)) == 5


def test_settings_out_of_range_are_refused():
    for method in (RAgent, SearchO1):
        with pytest.raises(ValueError, match="max_searches"):
            method(max_searches=0)
        with pytest.raises(ValueError, match="max_chars"):
            method(max_chars="many")


HOSTILE = st.lists(
    st.one_of(
        st.text(),
        st.sampled_from(
            [
                "</think>",
                "<search>",
                "</search></answer>",
                "Search: ",
                "Answer:",
                "\n\n<information>\nDoc 1: x\n</information>\n\n",
                "<answer></answer>",
                "x" * 9000,
            ]
        ),
    ),
    max_size=6,
).map("".join)


@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind != "instruct"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(HOSTILE, min_size=1, max_size=5))
def test_no_text_of_a_model_breaks_an_agent(kind, texts):
    agent = PromptedAgent(
        METHODS[kind](), ScriptedTextGenerator(lambda prompt: texts[len(prompt.text) % len(texts)])
    )
    env = ZeroSearchEnv([QUESTION], _Nothing())
    observation, _ = env.reset(seed=0)
    over = False
    while not over:
        try:
            action = agent.act(observation)
        except AgentFailure:
            assert not all(map(has_response, texts))
            return
        observation, _, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
    transcript = env.transcript()
    assert transcript.reason == "answer" and not transcript.malformed
    assert not any(isinstance(turn.action, Malformed) for turn in transcript.turns)


class _Nothing:
    in_process = True

    def search(self, requests):
        from zs_env import Document, SearchPage

        return [SearchPage((Document(f"about {one.query}"),)) for one in requests]


@pytest.mark.parametrize("kind", METHODS)
def test_results_do_not_depend_on_concurrency(kind):
    def replies(prompt):
        return ("Search: who is it", "Answer: no", "Answer: yes", "why")[prompt.seed % 4]

    def figures(concurrency):
        agent = PromptedAgent(METHODS[kind](), ScriptedTextGenerator(replies))
        return evaluate(agent, episodes=12, concurrency=concurrency, agent_name=kind).to_json()

    assert figures(1) == figures(12)


INSTRUCT_COMPLETIONS = (
    "<think>First the builder.</think>\n<search>tower Lund</search>\n<information>made up",
    "I am not sure.",
    "<think>cut </search> thought</think><search>Ann Lee born",  # the server removed its stop tag
    "<answer>Ann Lee</answer><answer>Bob</answer>",
)


def test_instruct_plays_the_protocol_of_the_environment(passages):
    replies = Replies(*INSTRUCT_COMPLETIONS)
    transcript = play(Instruct(), replies, passages)
    assert transcript.prediction == "Ann Lee" and transcript.reason == "answer"
    # The environment's own prompt comes first, then each turn with what followed it.
    prompt = INSTRUCT_PROMPT.format(
        question=QUESTION.text, num_documents=2, max_turns=transcript.max_turns
    )
    assert replies.prompts[0] == prompt == transcript.prompt
    texts = [turn.text for turn in transcript.turns]
    assert texts == [
        "<think>First the builder.</think>\n<search>tower Lund</search>",
        "I am not sure.",
        "<think>cut (/search> thought</think>\n<search>Ann Lee born</search>",
        "<answer>Ann Lee</answer>",
    ]
    for number, before in enumerate(replies.prompts[1:]):
        turn = transcript.turns[number]
        assert before == replies.prompts[number] + turn.text + turn.message
    assert transcript.num_searches == 2 and transcript.malformed == {"no_action": 1}
