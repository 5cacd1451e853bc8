"""The oracle agent solves every question by searching."""

import pytest

from agents.baselines.world_oracle import FollowTheHops
from zs_env.config import make_env
from zs_env.episode import Episode, EpisodeConfig
from zs_env.metrics import f1_score
from zs_env.search.types import SearchRequest
from zs_env.world import PAGE_STRUCTURES, STRUCTURES, World, WorldEngine, WorldQuestions


def play(question, engine, noise=0.0, seed=0):
    agent, episode = FollowTheHops(), Episode(question, noise_probability=noise, seed=seed)
    while episode.finished is None:
        observation = {"question": question.text, "transcript": episode.text}
        outcome = episode.act(agent.act(observation))
        if isinstance(outcome, SearchRequest):
            episode.receive(engine.search([outcome])[0])
    return episode.transcript()


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_without_noise_the_ceiling_agent_answers_every_question(split, structure):
    world = World(11, split)
    engine = WorldEngine(world)
    for question in WorldQuestions(world, [structure])[:60]:
        transcript = play(question, engine)
        assert transcript.scores()["f1"] == 1.0, transcript.text
        # Fewer if a page contains a further fact by chance.
        assert 1 <= transcript.num_searches <= question.metadata["hops"]


@pytest.mark.parametrize("limits", [{}, {"max_document_chars": 120}])
@pytest.mark.parametrize("engine", ["world", "bm25"])
@pytest.mark.parametrize("structure", PAGE_STRUCTURES)
def test_with_the_tool_open_it_answers_every_question_about_a_page(structure, engine, limits):
    max_turns = 24 if limits else 6
    env = make_env(
        WorldQuestions(World(11, "heldout"), [structure]),
        engine,
        tools=["search", "open"],
        limits=limits,
        max_turns=max_turns,
    )
    for number in range(30):
        transcript = play_in(env, number, FollowTheHops(max_turns))
        assert transcript.scores()["f1"] == 1.0, transcript.text
        assert transcript.num_opens >= 1 and not transcript.malformed


@pytest.mark.parametrize("structure", PAGE_STRUCTURES)
def test_without_the_tool_open_it_answers_no_question_about_a_page(structure):
    env = make_env(WorldQuestions(World(11, "heldout"), [structure]))
    for number in range(30):
        assert play_in(env, number, FollowTheHops()).scores()["f1"] == 0.0


def play_in(env, number, agent):
    observation, info = env.reset(seed=number, options={"question_index": number})
    while "reason" not in info:
        observation, *_, info = env.step(agent.act(observation))
    return env.transcript()


def test_at_full_noise_it_answers_a_chain_never_and_a_comparison_by_guess():
    world = World(0)
    engine = WorldEngine(world)
    for question in WorldQuestions(world, ["chain1", "comparison"])[:40]:
        transcript = play(question, engine, noise=1.0)
        assert transcript.num_searches == EpisodeConfig().max_turns - 1
        if question.metadata["structure"] == "chain1":
            assert transcript.reward == f1_score("unknown", question.answers) == 0.0
        else:
            assert transcript.prediction in question.text


def test_a_question_of_another_kind_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="fictional world"):
        FollowTheHops().act({"question": "Who wrote Faust?", "transcript": ""})
