"""The Gymnasium environment."""

import pickle

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from zs_env import Document, NoiseSchedule, Question, SearchPage, ZeroSearchEnv
from zs_env.engines import CachedEngine
from zs_env.episode import Limits
from zs_env.noise import AdaptiveNoise

QUESTIONS = [
    Question(id="capital", text="What is the capital of France?", answers=("Paris",)),
    Question(id="river", text="Which river crosses Paris?", answers=("Seine", "the Seine")),
]


class Echo:
    """Returns two documents that contain the query, and records the requests.

    It honours the requested noise, and says so, in that its documents could be either.
    """

    in_process = supports_noise = True
    fingerprint = "echo"

    def __init__(self):
        self.batches = []

    def search(self, requests):
        self.batches.append(list(requests))
        return [
            SearchPage((Document(f"on {r.query}", title="T"), Document(f"again {r.query}")))
            for r in requests
        ]


def make(**settings):
    return ZeroSearchEnv(QUESTIONS, Echo(), **{"num_documents": 2} | settings)


def test_a_search_shows_documents_and_an_answer_ends_the_episode():
    env = make()
    observation, info = env.reset(seed=0, options={"question_index": 0})
    assert observation["question"] == "What is the capital of France?"
    assert observation["message"] == observation["transcript"]
    assert observation["documents"] == ("", "")
    assert info == {
        "episode_id": env.transcript().seed,
        "question_id": "capital",
        "noise_probability": 0.0,
        "num_searches": 0,
        "action": None,
        "documents": (),
    }
    start = observation["transcript"]
    text = "<search>capital France</search>"
    observation, reward, terminated, truncated, info = env.step(text)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert observation["documents"] == ("T. on capital France", "again capital France")
    assert observation["message"].count("capital France") == 2
    assert observation["transcript"] == start + text + observation["message"]
    assert info["num_searches"] == 1
    assert info["action"] == "search"
    assert [document.rank for document in info["documents"]] == [0, 1]
    observation, reward, terminated, truncated, info = env.step("<answer>paris</answer>")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert observation["message"] == ""
    assert info["reason"] == "answer"
    assert info["answers"] == ("Paris",)
    assert info["scores"] == {"f1": 1.0, "exact_match": 1.0, "cover_match": 1.0}
    assert info["reward_terms"] == {"f1": 1.0}
    assert info["failure"] is None


def test_gold_answers_are_in_the_info_of_the_last_step_only():
    env = make()
    infos = [env.reset(seed=1)[1]]
    infos += [env.step(text)[4] for text in ("hm", "<search>q</search>", "<answer>x</answer>")]
    assert ["answers" in info for info in infos] == [False, False, False, True]


def test_malformed_actions_are_named_and_cost_a_turn():
    env = make(max_turns=3)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step("just talking")
    assert (reward, terminated, truncated, info["action"]) == (0.0, False, False, "no_action")
    assert "<search>" in observation["message"]
    env.step("<search></search>")
    *_, terminated, truncated, info = env.step("<answer></answer>")
    assert (terminated, truncated, info["reason"]) == (False, True, "turn_limit")


def test_a_search_as_the_last_action_is_not_sent():
    engine = Echo()
    env = ZeroSearchEnv(QUESTIONS, engine, max_turns=1)
    env.reset(seed=0)
    *_, reward, terminated, truncated, info = env.step("<search>late</search>")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert (info["reason"], info["action"], info["num_searches"]) == ("turn_limit", "search", 0)
    assert engine.batches == []


def play(env, seed, options=None):
    trace = [env.reset(seed=seed, options=options)]
    for text in ("<search>a</search>", "<search>a</search>", "<answer>Paris</answer>"):
        trace.append(env.step(text))
    return trace


def test_equal_seeds_give_equal_episodes():
    assert play(make(noise=0.5), 7) == play(make(noise=0.5), 7)
    requests = [make(noise=0.5) for _ in range(2)]
    for env, seed in zip(requests, (1, 2), strict=True):
        play(env, seed)
    first, second = (env.transcript().turns[0].request for env in requests)
    assert first.seed != second.seed


def test_episodes_with_one_group_seed_make_equal_requests():
    engine = Echo()
    env = ZeroSearchEnv(QUESTIONS, engine, noise=0.5)
    for seed in range(3):
        play(env, seed, {"group_seed": 11, "question_index": 0})
    by_episode = [[batch[0] for batch in engine.batches[i : i + 2]] for i in (0, 2, 4)]
    assert by_episode[0] == by_episode[1] == by_episode[2]
    assert by_episode[0][0].seed != by_episode[0][1].seed, "asking again is another draw"


@pytest.mark.parametrize(
    "options",
    [
        {"question_index": 1},
        {"group_seed": 11},
        {"group_seed": 11, "question_index": 0},
        {"noise_probability": 0.7},
        {"training_step": 3},
        {"flipped_turn": 0},
    ],
)
def test_an_option_changes_no_later_episode(options):
    def later_episodes(env):
        traces = []
        for _ in range(3):
            observation, info = env.reset()
            steps = [env.step(f"<search>{query}</search>") for query in "aa"]
            traces.append((observation, info, env.transcript().seed, steps))
        return traces

    plain, changed = make(noise=0.5), make(noise=0.5)
    plain.reset(seed=3)
    changed.reset(seed=3, options=options)
    if "group_seed" not in options:
        assert plain.transcript().seed == changed.transcript().seed
    assert later_episodes(plain) == later_episodes(changed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise": 0.1}, "noise_probability"),
        ({"noise_probability": 1.5}, "1.5"),
        ({"question_index": 2}, r"\[0, 2\)"),
        ({"question_index": -1}, "-1"),
        ({"flipped_turn": -1}, "at least 0, got -1"),
    ],
)
def test_wrong_options_are_errors(options, words):
    with pytest.raises(ValueError, match=words):
        make().reset(seed=0, options=options)


def test_the_environments_own_schedule_counts_episodes_and_restarts_with_a_seed():
    env = make(noise=NoiseSchedule(0.0, 1.0, total_steps=2, shape="linear"))
    seen = [env.reset(seed=0)[1]["noise_probability"]]
    seen += [env.reset()[1]["noise_probability"] for _ in range(3)]
    assert seen == [0.0, 0.5, 1.0, 1.0]
    assert env.reset(seed=0)[1]["noise_probability"] == 0.0
    assert env.reset(options={"training_step": 1})[1]["noise_probability"] == 0.5
    assert env.reset(options={"noise_probability": 0.25})[1]["noise_probability"] == 0.25
    both = {"noise_probability": 0.25, "training_step": 1}
    assert env.reset(options=both)[1]["noise_probability"] == 0.25


def test_adaptive_noise_follows_this_environments_rewards_only():
    noise = AdaptiveNoise(0.1, 0.5, target=0.5, window=1, rate=0.1)
    env, other = make(noise=noise), make(noise=noise)
    env.reset(seed=0, options={"question_index": 0})
    env.step("<answer>Paris</answer>")
    assert env.reset()[1]["noise_probability"] == pytest.approx(0.2)
    assert other.reset()[1]["noise_probability"] == 0.1
    assert env.reset(seed=0)[1]["noise_probability"] == 0.1


def test_noise_may_be_given_as_json():
    linear = {"start": 0.2, "end": 0.4, "total_steps": 1, "shape": "linear"}
    env = make(noise=linear)
    assert [env.reset()[1]["noise_probability"] for _ in range(2)] == [0.2, 0.4]
    assert make(noise={"kind": "adaptive", "start": 0.3, "end": 0.4}).reset()[1][
        "noise_probability"
    ] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="Did you mean 'adaptive'"):
        make(noise={"kind": "adaptiv"})


def test_every_observation_is_in_its_space_at_the_limits():
    limits = Limits(max_action_chars=60, max_document_chars=30, max_prompt_chars=700)

    class Long:
        in_process = True

        def search(self, requests):
            return [SearchPage((Document("y" * 99, title="t" * 9),) * 9) for _ in requests]

    prompt = "{question}" + "p" * (700 - len(QUESTIONS[0].text))
    env = ZeroSearchEnv(QUESTIONS[:1], Long(), limits=limits, max_turns=4, prompt=prompt)
    observation, _ = env.reset(seed=0)
    assert len(observation["message"]) == 700
    query = "<search>" + "q" * (60 - 17) + "</search>"
    for action in (query, "z" * 500, query, query):
        assert observation in env.observation_space
        observation, *_ = env.step(action)
    assert observation in env.observation_space


def test_the_longest_episode_reaches_the_transcript_bound_except_for_its_last_message():
    limits = Limits(max_action_chars=60, max_document_chars=300, max_prompt_chars=400)

    class Long:
        in_process = True

        def search(self, requests):
            return [SearchPage((Document("y" * 299, title="t"),) * 2) for _ in requests]

    prompt = "{question}" + "p" * (400 - len(QUESTIONS[0].text))
    env = ZeroSearchEnv(
        QUESTIONS[:1], Long(), limits=limits, max_turns=3, num_documents=2, prompt=prompt
    )
    env.reset(seed=0)
    query = "<search>" + "q" * (60 - 17) + "</search>"
    page = len(env.step(query)[0]["message"])
    env.step(query)
    observation, *_ = env.step("w" * 60)
    space = env.observation_space["transcript"]
    assert len(observation["transcript"]) == space.max_length - page


def test_a_prompt_over_the_limit_is_an_error_that_names_the_limit():
    with pytest.raises(ValueError, match="max_prompt_chars=10"):
        make(limits=Limits(max_prompt_chars=10)).reset(seed=0)


def test_stepping_without_an_episode_asks_for_reset():
    env = make()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step("<answer>x</answer>")
    env.reset(seed=0)
    env.step("<answer>x</answer>")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step("<answer>x</answer>")


def test_an_action_that_is_no_string_is_an_error_and_takes_no_turn():
    env = make()
    env.reset(seed=0)
    with pytest.raises(TypeError, match="int"):
        env.step(3)  # type: ignore[arg-type]
    assert env.transcript().turns == ()


def test_an_episode_keeps_its_id_and_others_have_ids_of_their_own():
    env = make(max_turns=3)
    ids = []
    for seed in (1, 2, None, None):
        _, info = env.reset(seed=seed, options={"group_seed": 7})
        *_, after = env.step("hm")
        assert after["episode_id"] == info["episode_id"]
        ids.append(info["episode_id"])
    assert len(set(ids)) == 4
    assert env.reset(seed=1)[1]["episode_id"] == ids[0]


def test_costs_are_in_the_ledger_and_not_in_info():
    env = make(num_documents=3)
    trace = play(env, 0)
    assert (env.costs.batches, env.costs.searches, env.costs.short_pages) == (2, 2, 2)
    assert all("cost" not in key for *_, info in trace for key in info)


def test_no_questions_is_an_error():
    with pytest.raises(ValueError, match="at least one question"):
        ZeroSearchEnv([], Echo())


def test_an_engine_without_search_is_an_error():
    with pytest.raises(TypeError, match="search"):
        ZeroSearchEnv(QUESTIONS, object())  # type: ignore[arg-type]


def test_an_unknown_render_mode_is_an_error():
    with pytest.raises(ValueError, match="rgb_array"):
        make(render_mode="rgb_array")


class Closing(Echo):
    closed = False

    def close(self):
        self.closed = True


@pytest.mark.parametrize("owned", [True, False])
def test_close_closes_the_engine_only_if_it_is_owned(owned):
    engine = Closing()
    env = ZeroSearchEnv(QUESTIONS, engine, owns_engine=owned)
    env.close()
    env.close()
    assert engine.closed is owned


def test_an_environment_passes_check_env():
    check_env(make(), skip_render_check=True)


def test_transcripts_of_an_environment_can_be_pickled():
    env = make()
    play(env, 0)
    assert pickle.loads(pickle.dumps(env.transcript())) == env.transcript()


def test_five_equal_episodes_make_two_engine_calls_with_the_cache():
    engine = Echo()
    env = ZeroSearchEnv(QUESTIONS, CachedEngine(engine), noise=0.5)
    options = {"question_index": 0, "group_seed": 1}
    traces = [play(env, seed, options) for seed in range(5)]
    assert len({step[-1].pop("episode_id") for trace in traces for step in trace}) == 5
    assert [len(batch) for batch in engine.batches] == [1, 1]
    assert all(trace == traces[0] for trace in traces)
    assert (env.costs.searches, env.costs.cached) == (10, 8)


def test_a_document_names_its_engine_even_if_the_page_does_not():
    class Named(Echo):
        name = "echo"

    env = ZeroSearchEnv(QUESTIONS, Named())
    env.reset(seed=0)
    *_, info = env.step("<search>x</search>")
    assert {document.engine for document in info["documents"]} == {"echo"}


def test_the_page_of_one_turn_can_be_flipped():
    for flipped_turn, useful in ((None, [True, True]), (0, [False, True]), (1, [True, False])):
        env = make(noise=0.0)
        env.reset(seed=0, options={"flipped_turn": flipped_turn})
        for query in ("a", "b"):
            env.step(f"<search>{query}</search>")
        pages = [turn.documents for turn in env.transcript().turns]
        assert [page[0].useful for page in pages] == useful
