"""The world teacher makes the chosen errors and no others."""

import random
import re

import pytest

from agents.baselines.world_oracle import Plan, Statement
from agents.llm.sft.world_teacher import NO_ERRORS, TeacherErrors, WorldTeacher, conclude
from zs_env.actions import Malformed
from zs_env.episode import EpisodeConfig
from zs_env.metrics import exact_match
from zs_env.prompts import PROMPTS
from zs_env.world import STRUCTURES, World, WorldEngine, WorldQuestions

WORLD = World(1000)
ENGINE = WorldEngine(WORLD)
CONFIG = EpisodeConfig(prompt=PROMPTS["bare"])


def play(question, errors, noise=0.0, seed=0):
    teacher = WorldTeacher(question, errors, random.Random(seed))
    return teacher.play(ENGINE, config=CONFIG, noise_probability=noise)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_without_errors_and_noise_every_answer_is_correct(structure):
    for question in WorldQuestions(WORLD, [structure])[:60]:
        transcript = play(question, NO_ERRORS)
        assert exact_match(transcript.prediction or "", question.answers), transcript.text


def test_every_action_is_well_formed():
    for seed, question in enumerate(WorldQuestions(WORLD)[:300]):
        transcript = play(question, TeacherErrors(), noise=0.5, seed=seed)
        assert transcript.reason == "answer"
        assert not any(isinstance(turn.action, Malformed) for turn in transcript.turns)


def test_vague_queries_name_an_entity_and_nothing_else():
    always_vague = TeacherErrors(vague_query=1.0, early_answer=0.0, hasty_guess=0.0)
    for question in WorldQuestions(WORLD)[:60]:
        for query in re.findall(r"<search> (.*?)</search>", play(question, always_vague).text):
            assert query.lower() in WORLD.named


def test_early_answers_come_from_the_first_page():
    early = TeacherErrors(vague_query=0.0, early_answer=1.0, hasty_guess=0.0)
    for question in WorldQuestions(WORLD, ["chain2", "chain3"])[:60]:
        transcript = play(question, early)
        assert transcript.num_searches <= question.metadata["hops"] - 1 or transcript.reward
        if transcript.num_searches == 1:
            assert f"is {transcript.prediction}. Done." in transcript.turns[-1].text


def test_hasty_guesses_follow_the_first_page_that_lacks_the_fact():
    hasty = TeacherErrors(vague_query=0.0, early_answer=0.0, hasty_guess=1.0)
    for question in WorldQuestions(WORLD, ["chain1"])[:60]:
        transcript = play(question, hasty, noise=1.0)
        assert transcript.num_searches == 1
        assert transcript.scores()["exact_match"] == 0.0
        assert "is not there. Done." in transcript.turns[-1].text


@pytest.mark.parametrize("word", ["earlier", "later"])
@pytest.mark.parametrize(("year", "order"), [("1849", "second first"), ("1851", "first second")])
def test_a_comparison_is_concluded_by_order_then_by_place_then_by_name(word, year, order):
    plan = Plan(f"Which has the {word} birth year, Ann Bo or Cy Do?")
    years = [("Ann Bo", "1850"), ("Cy Do", year)]
    assert plan.read([Statement("birth year", name, found) for name, found in years]) is None
    earlier, later = order.split()
    which = earlier if word == "earlier" else later
    assert conclude(plan) == (
        f" So earlier is the {earlier}, later is the {later}, and {word} is the {which}. Done."
        f"</think><answer> {'Ann Bo' if which == 'first' else 'Cy Do'}</answer>"
    )
