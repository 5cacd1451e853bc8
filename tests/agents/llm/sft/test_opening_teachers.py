"""Teachers open a document whose full text has what its page cut off."""

import random
from dataclasses import replace

import pytest

from agents.llm.sft.paragraph_teacher import ParagraphTeacher
from agents.llm.sft.passage_teacher import PassageTeacher
from agents.llm.sft.world_teacher import NO_ERRORS, WorldTeacher
from zs_env.actions import Answer, Open, Search
from zs_env.engines import BM25Engine, ParagraphEngine
from zs_env.episode import EpisodeConfig, Limits
from zs_env.prompts import PROMPTS
from zs_env.questions.question import Paragraph, Question
from zs_env.world import World, WorldEngine, WorldQuestions

BOTH = ("search", "open")
RULES = EpisodeConfig(num_documents=1, tools=BOTH, prompt=PROMPTS["bare"])


def play(teacher, engine, config=RULES, noise=0.0):
    transcript = teacher.play(engine, config=config, noise_probability=noise)
    return transcript, [turn.action for turn in transcript.turns]


@pytest.mark.parametrize(("structure", "num_searches"), [("page1", 1), ("page2", 2)])
def test_the_page_of_an_entity_is_opened_in_the_world(structure, num_searches):
    world = World(0)
    config = replace(RULES, num_documents=3)
    for question in WorldQuestions(world, [structure])[:10]:
        teacher = WorldTeacher(question, NO_ERRORS, random.Random(0))
        transcript, actions = play(teacher, WorldEngine(world), config)
        assert transcript.scores()["exact_match"] == 1.0, transcript.text
        assert [one.kind for one in actions] == ["search"] * num_searches + ["open", "answer"]
        assert " is not there. Open its page.</think><open>" in transcript.turns[-2].text
        teacher = WorldTeacher(question, NO_ERRORS, random.Random(0))
        transcript, _ = play(teacher, WorldEngine(world), replace(config, tools=("search",)))
        assert transcript.num_opens == 0 and transcript.scores()["exact_match"] == 0.0


def test_a_noisy_page_is_searched_for_again_before_it_is_opened():
    world = World(0)
    config = replace(RULES, num_documents=3, max_turns=40)
    for seed, question in enumerate(WorldQuestions(world, ["page1"])[:10]):
        teacher = WorldTeacher(question, NO_ERRORS, random.Random(seed))
        transcript, _ = play(teacher, WorldEngine(world), config, noise=0.5)
        assert transcript.scores()["exact_match"] == 1.0, transcript.text


# With 60 characters the document has 8 of its title and 52 of its text: three parts.
ADA = "Ada Berg is a director. She made many films in the north. Her home town is Lund."
QUESTION = Question(
    id="q",
    text="Where is the home of Ada Berg?",
    answers=("Lund",),
    paragraphs=(
        Paragraph(title="Ada Berg", text=ADA, is_gold=True),
        Paragraph(title="Tea", text="Tea grows in Assam.", is_gold=False),
    ),
)
SHORT = replace(RULES, limits=Limits(max_document_chars=60))


def test_a_gold_paragraph_that_was_cut_is_opened_at_the_part_with_the_answer():
    engine = ParagraphEngine([QUESTION])
    transcript, actions = play(ParagraphTeacher(QUESTION, random.Random(0)), engine, SHORT)
    assert isinstance(actions[0], Search) and actions[1:] == [Open(1, 3), Answer("Lund")]
    assert transcript.turns[1].text.endswith("</think><open>1 p3</open>")
    assert transcript.turns[2].text == (
        '<think>Ada Berg: "Her home town is Lund".</think><answer> Lund</answer>'
    )
    closed = replace(SHORT, tools=("search",))
    transcript, _ = play(ParagraphTeacher(QUESTION, random.Random(0)), engine, closed)
    assert transcript.prediction is None and transcript.num_opens == 0


def test_a_paragraph_with_the_answer_in_view_is_not_opened():
    _, actions = play(ParagraphTeacher(QUESTION, random.Random(0)), ParagraphEngine([QUESTION]))
    assert [one.kind for one in actions] == ["search", "answer"]


def test_a_passage_is_opened_for_an_answer_in_the_passage_after_it():
    texts = ("The Tiber flows through Rome.", "It was founded by Romulus.")
    engine = BM25Engine.from_passages([{"title": "Rome", "text": text} for text in texts])
    question = Question(id="q", text="Who began the city at the Tiber?", answers=("Romulus",))
    _, actions = play(PassageTeacher(question, random.Random(0)), engine)
    assert actions == [Search("began city Tiber"), Open(1), Answer("Romulus")]


def test_an_engine_that_cannot_open_is_only_searched():
    engine = ParagraphEngine([QUESTION])
    engine.can_open = False
    transcript, _ = play(ParagraphTeacher(QUESTION, random.Random(0)), engine, SHORT)
    assert transcript.num_opens == 0 and not transcript.malformed
