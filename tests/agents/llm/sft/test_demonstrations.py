"""Demonstrations of a warm start end with the correct answer."""

from itertools import islice

import pytest

from agents.llm.sft.config import DemonstrationConfig
from agents.llm.sft.demonstrations import (
    answer_at_once,
    encode_demonstration,
    play_demonstrations,
)
from agents.llm.trainer.config import env_settings
from tests.agents.llm.policy.chat_templates import make_chat_policy
from zs_env.actions import Answer, Open, Search
from zs_env.episode import EpisodeConfig
from zs_env.questions.question import Question
from zs_env.transcripts.transcript import Transcript, Turn


def test_demonstrations_on_a_world_search_and_have_the_correct_answer():
    played = list(
        islice(play_demonstrations(DemonstrationConfig(max_turns=3, max_noise=1.0), seed=0), 40)
    )
    correct = [transcript for transcript in played if transcript is not None]
    # Three turns and this much noise are too few for some.
    assert 0 < len(correct) < len(played)
    assert all(transcript.scores()["exact_match"] == 1 for transcript in correct)
    assert all(transcript.num_searches > 0 for transcript in correct)
    assert len({transcript.question.id for transcript in correct}) == len(correct)


def test_with_one_turn_the_teacher_answers_without_a_search():
    played = list(islice(play_demonstrations(DemonstrationConfig(max_turns=1), seed=0), 5))
    assert all(len(t.turns) == 1 and t.scores()["exact_match"] == 1 for t in played if t)
    assert all(transcript is not None for transcript in played)


def test_the_answer_at_once_is_the_first_gold_one():
    question = Question(id="q", text="Who?", answers=("Ann Lee", "A. Lee"))
    transcript = answer_at_once(question, EpisodeConfig(max_turns=1))
    assert transcript.turns[0].action == Answer("Ann Lee")
    assert transcript.num_searches == 0


@pytest.mark.parametrize("max_turns", [1, 3])
def test_the_same_settings_give_the_same_demonstrations(max_turns):
    config = DemonstrationConfig(max_turns=max_turns)
    one, other = (list(islice(play_demonstrations(config, seed=0), 8)) for _ in range(2))
    assert one == other


def test_noise_that_the_engine_cannot_produce_names_the_flag():
    config = DemonstrationConfig(engine='{"kind": "bm25"}', max_noise=0.25)
    with pytest.raises(ValueError, match=r"got --max-noise=0\.25, but the engine 'bm25'"):
        next(play_demonstrations(config, seed=0))


def test_with_the_tool_the_pages_of_a_world_are_opened():
    spec = '{"kind": "world", "structures": ["page1"]}'
    rules = {"questions": (spec,), "max_noise": 0.0, "max_document_chars": 2048}
    config = DemonstrationConfig(**rules, tools="search,open")
    assert env_settings(config)["tools"] == ["search", "open"]
    for transcript in islice(play_demonstrations(config, seed=0), 5):
        assert [turn.action.kind for turn in transcript.turns] == ["search", "open", "answer"]
    closed = play_demonstrations(DemonstrationConfig(**rules), seed=0)
    assert list(islice(closed, 5)) == [None] * 5


SEARCH = '<tool_call>\n{"name": "search", "arguments": {"query": "Ann"}}\n</tool_call>'
OPEN = '<tool_call>\n{"name": "open", "arguments": {"document": 1, "part": 2}}\n</tool_call>'


@pytest.mark.parametrize(
    ("turn_format", "searched", "opened"),
    [("chat", "<search> Ann</search>", "<open>1 p2</open>"), ("tools", SEARCH, OPEN)],
)
def test_an_open_is_encoded_in_the_turn_format(turn_format, searched, opened):
    policy = make_chat_policy("Qwen 3", turn_format)
    policy.record_env_settings({"tools": ["search", "open"]})
    page = "\n\n<information>\nDoc 1 (part 2 of 2): It was Bo.\n</information>\n\n"
    transcript = Transcript(
        question=Question(id="q", text="Who?", answers=("Bo",)),
        prompt="Question: Who?\n",
        turns=(
            Turn("<think>a</think><search> Ann</search>", Search("Ann"), message=page),
            Turn("<think>b</think><open>1 p2</open>", Open(1, 2), message=page),
            Turn("<think>c</think><answer> Bo</answer>", Answer("Bo")),
        ),
        reason="answer",
    )
    segments = encode_demonstration(policy, transcript).segments
    assert [one.source.name[0] for one in segments] == ["P", "P", "E", "P", "E", "P"]
    texts = [policy.codec.decode(one.token_ids) for one in segments]
    assert [texts[place] for place in (1, 3, 5)] == [
        f"<think>a</think>{searched}",
        f"<think>b</think>{opened}",
        "<think>c</think><answer> Bo</answer>",
    ]
    for text in (texts[2], texts[4]):
        assert page.strip() in text and ("<tool_response>" in text) == (turn_format == "tools")
