"""Kinds of noise: drawn by weights, requested, delivered and recorded."""

import json
from collections import Counter
from dataclasses import replace

import gymnasium
import pytest

import envs_registry  # noqa: F401  (registers the ids)
from zs_env import Document, Question, SearchPage, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.engines import BM25Engine, CachedEngine, MixtureEngine, ScriptedEngine
from zs_env.engines.cache.store import _key
from zs_env.episode import Episode, EpisodeConfig
from zs_env.noise import NOISE_KINDS, build_noise_kinds, check_noise
from zs_env.rendering import render_transcript
from zs_env.search.engine import as_engine, search_checked
from zs_env.search.types import SearchRequest
from zs_env.search.validation import page_problem
from zs_env.text.hashing import stable_hash, uniform
from zs_env.transcripts.serialization import transcript_from_json, transcript_to_json
from zs_env.world import World, WorldEngine, WorldQuestions

QUESTION = Question(id="1", text="Who was it?", answers=("Ann",))
NOISY = SearchRequest("q", "Who was it?", ("Ann",), (False, True, False), 7)


def deliver(request):
    return [f"{'useful' if flag else request.noise_kind} text" for flag in request.expected]


def scripted(kinds=NOISE_KINDS):
    return ScriptedEngine(deliver, supports_noise=True, noise_kinds=kinds)


def requests(count, **settings):
    config = EpisodeConfig(**settings)
    return [
        Episode(QUESTION, config=config, noise_probability=0.5, seed=seed).act("<search>x</search>")
        for seed in range(count)
    ]


@pytest.mark.parametrize(
    ("given", "built"),
    [
        ("misleading", (("misleading", 1.0),)),
        ({"empty": 2, "misleading": 1}, (("misleading", 1.0), ("empty", 2.0))),
        ({"irrelevant": 0, "injected": 0.5}, (("injected", 0.5),)),
        ('{"conflicting": 3}', (("conflicting", 3.0),)),
        ([["empty", 1]], (("empty", 1.0),)),
    ],
)
def test_kinds_are_a_name_or_weights_also_as_json(given, built):
    assert build_noise_kinds(given) == built == build_noise_kinds(built)
    assert EpisodeConfig(noise_kinds=given).noise_kinds == built
    assert build_noise_kinds(json.loads(json.dumps(built))) == built


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("misleadin", "Did you mean 'misleading'"),
        ({"rude": 1}, "unknown noise kind 'rude'"),
        ({"empty": -1}, "expected one of"),
        ({"empty": 0}, "expected one of"),
        ({"empty": float("nan")}, "finite number"),
        ({"empty": float("inf")}, "finite number"),
        ({"empty": 1e308, "injected": 1e308}, "expected one of"),
        ({}, "expected one of"),
        (None, "expected one of"),
        ("{", "not valid JSON"),
    ],
)
def test_other_kinds_are_refused(given, match):
    with pytest.raises(ValueError, match=match):
        build_noise_kinds(given)


@pytest.mark.parametrize("draw", ["search", "document", "group"])
def test_kinds_change_nothing_but_the_kind_of_noisy_pages(draw):
    plain = requests(400, noise_draw=draw)
    drawn = requests(400, noise_draw=draw, noise_kinds={"misleading": 1, "empty": 1})
    assert {one.noise_kind for one in plain} == {"irrelevant"}
    assert [replace(one, noise_kind="irrelevant") for one in drawn] == plain
    for one in drawn:
        assert (one.noise_kind == "irrelevant") == all(one.useful)


def test_the_weights_are_the_frequencies_and_the_draw_is_independent_of_quality_and_seed():
    drawn = requests(8000, noise_kinds={"misleading": 1, "injected": 3}, noise_draw="document")
    noisy = [one for one in drawn if not all(one.useful)]
    counts = Counter(one.noise_kind for one in noisy)
    # 5 standard deviations: sqrt(n p (1 - p)).
    assert abs(counts["injected"] - 0.75 * len(noisy)) < 5 * (len(noisy) * 0.1875) ** 0.5
    for bit in (62, 30, 1, 0):
        equal = sum((one.noise_kind == "injected") == bool(one.seed >> bit & 1) for one in noisy)
        assert abs(equal - len(noisy) / 2) < 5 * (len(noisy) / 4) ** 0.5, bit
    first = noisy[0]
    seed = drawn.index(first)
    digest = stable_hash(f"{seed}\0x\0" + "0")
    draw = uniform(stable_hash(f"{digest}\0kind"))
    assert first.noise_kind == ("misleading" if draw < 0.25 else "injected")


def test_a_group_shares_the_kind_of_a_turn():
    config = EpisodeConfig(noise_draw="group", noise_kinds={kind: 1 for kind in NOISE_KINDS})
    kinds = set()
    for seed in range(40):
        ours, theirs = (
            Episode(QUESTION, config=config, noise_probability=1.0, seed=seed).act(
                f"<search>{query}</search>"
            )
            for query in ("a", "b")
        )
        assert ours.noise_kind == theirs.noise_kind
        kinds.add(ours.noise_kind)
    assert kinds == set(NOISE_KINDS)


def test_a_request_without_noisy_documents_has_no_kind():
    useful = SearchRequest("q", None, None, (True, True), 1, "misleading")
    assert useful == SearchRequest("q", None, None, (True, True), 1)
    with pytest.raises(ValueError, match="unknown noise kind 'rude'"):
        SearchRequest("q", None, None, (False,), 1, "rude")


def test_a_flipped_turn_draws_the_kind_of_its_noise():
    config = EpisodeConfig(noise_kinds="injected")
    plain, flipped = (
        Episode(QUESTION, config=config, flipped_turn=turn).act("<search>x</search>")
        for turn in (None, 0)
    )
    assert flipped == replace(plain.flipped(), noise_kind="injected")


def test_empty_noise_leaves_the_noisy_documents_out():
    empty = replace(NOISY, noise_kind="empty")
    assert (NOISY.expected, NOISY.num_left_out) == ((False, True, False), 0)
    assert (empty.expected, empty.num_left_out) == ((True,), 2)


@pytest.mark.parametrize("engine", [scripted(), WorldEngine(World(0))], ids=["function", "world"])
def test_an_empty_page_is_no_short_page_and_no_failure(engine):
    questions = [QUESTION] if isinstance(engine, ScriptedEngine) else WorldQuestions(World(0))
    settings = {"noise": 1.0, "noise_kinds": "empty", "num_documents": 3}
    env = ZeroSearchEnv(questions, engine, **settings)
    env.reset(seed=0)
    observation, *_, info = env.step("<search>mayor</search>")
    assert observation["documents"] == ("", "", "")
    assert "No documents were found." in observation["message"]
    assert "No documents" in observation["message"] or observation["message"]
    assert env.observation_space.contains(observation)
    assert (info["documents"], info["num_searches"]) == ((), 1)
    assert (env.costs.short_pages, env.costs.long_pages, env.costs.failures) == (0, 0, 0)
    vector = ZeroSearchVectorEnv(2, questions, CachedEngine(engine), **settings)
    vector.reset(seed=0)
    observations, *_, infos = vector.step(["<search>mayor</search>"] * 2)
    assert observations["documents"] == (("", ""),) * 3
    assert infos["documents"][0] == ()
    assert vector.costs.short_pages == 0


def test_documents_beyond_an_empty_page_are_dropped():
    class Disobeys:
        supports_noise, noise_kinds = True, ("empty",)

        def search(self, requests):
            return [SearchPage((Document("text"),) * 3) for _ in requests]

    env = ZeroSearchEnv([QUESTION], Disobeys(), noise=1.0, noise_kinds="empty")
    env.reset(seed=0)
    *_, info = env.step("<search>x</search>")
    assert info["documents"] == ()
    assert env.costs.long_pages == 1


def test_documents_are_labelled_with_what_was_delivered():
    def search(request):
        return [
            Document("plain"),
            Document("own", useful=True),
            Document("fell back", useful=False, noise_kind="irrelevant"),
        ]

    engine = ScriptedEngine(search, supports_noise=True, noise_kinds=("misleading",))
    asked = replace(NOISY, useful=(False,) * 3, noise_kind="misleading")
    (page,) = search_checked(engine, [asked])
    assert isinstance(page, SearchPage)
    labels = [(one.useful, one.noise_kind) for one in page.documents]
    assert labels == [(False, "misleading"), (True, None), (False, "irrelevant")]
    (page,) = search_checked(scripted(), [replace(NOISY, noise_kind="empty")])
    assert [(one.useful, one.text) for one in page.documents] == [(True, "useful text")]
    problem = page_problem(SearchPage((Document("x", noise_kind="rude"),)))
    assert "noise_kind" in problem


@pytest.mark.parametrize(
    "make",
    [
        ZeroSearchEnv,
        lambda *rest, **settings: ZeroSearchVectorEnv(2, *rest, **settings),
    ],
)
def test_a_kind_that_the_engine_cannot_produce_is_an_error_once_there_is_noise(make):
    engine = scripted(["irrelevant", "empty"])
    settings = {"noise_kinds": {"empty": 1, "misleading": 1}}
    with pytest.raises(ValueError, match=r"\['misleading'\].*\['irrelevant', 'empty'\].*'world'"):
        make([QUESTION], engine, noise=0.5, **settings)
    env = make([QUESTION], engine, **settings)
    env.reset(seed=0)
    for options in ({"noise_probability": 0.1}, {"flipped_turn": 0}):
        with pytest.raises(ValueError, match="misleading"):
            env.reset(options=options)
    make([QUESTION], engine, noise=0.5, noise_kinds="empty")
    make([QUESTION], engine, noise=0.5, noise_kinds={"empty": 1, "misleading": 0})
    with pytest.raises(ValueError, match="cannot return noisy documents"):
        make([QUESTION], BM25Engine.from_passages([{"text": "Tea"}]), noise=0.5, **settings)


def test_wrappers_have_the_kinds_of_all_their_engines():
    one, other = scripted(["empty", "irrelevant"]), scripted(["injected", "irrelevant"])
    assert MixtureEngine([one, other]).noise_kinds == ("irrelevant",)
    assert CachedEngine(one).noise_kinds == ("irrelevant", "empty")

    class Plain:
        supports_noise, noise_kinds = True, ["misleading"]

        def search(self, requests):
            return []

    check_noise(as_engine(Plain()), 1.0, "misleading")
    with pytest.raises(ValueError, match="conflicting"):
        check_noise(as_engine(Plain()), 1.0, {"conflicting": 1})
    Plain.noise_kinds = ["rude"]
    with pytest.raises(ValueError, match="unknown noise kind of the engine 'Plain' 'rude'"):
        as_engine(Plain())


def test_a_cache_keeps_the_kinds_apart_and_finds_pages_of_earlier_versions(tmp_path):
    path = tmp_path / "pages.sqlite"
    asked = [replace(NOISY, noise_kind=kind) for kind in NOISE_KINDS]
    with_file = CachedEngine(scripted(), path, "record")
    pages = with_file.search(asked)
    assert [page.documents[0].text for page in pages] == [
        *(f"{kind} text" for kind in NOISE_KINDS[:-1]),
        "useful text",
    ]
    with_file.close()
    replayed = CachedEngine(None, path, "replay")
    assert replayed.noise_kinds == NOISE_KINDS
    assert replayed.search(asked) == pages
    # The key of a request with the default kind is that of earlier versions.
    assert _key("f", NOISY).hex() == "3fd463fd8824aaa41af8107e67ed7c1ab2cf3036"


def test_transcripts_hold_kinds_and_are_read_without_them():
    env = gymnasium.make(
        "ZeroSearch-v0", noise=1.0, noise_kinds={"misleading": 1}, num_documents=3
    ).unwrapped
    env.reset(seed=3)
    fact = env._sampler.questions.world.facts[0]
    env.step(f"<search>{fact.relation.name} of {fact.subject.name}</search>")
    env.step("<answer>x</answer>")
    transcript = env.transcript()
    value = json.loads(json.dumps(transcript_to_json(transcript)))
    assert transcript_from_json(value) == transcript
    turn = value["turns"][0]
    assert turn["request"]["noise_kind"] == "misleading"
    assert "misleading" in {document["noise_kind"] for document in turn["documents"]}
    assert "(noisy, misleading)" in render_transcript(transcript, color=False)
    # An earlier version wrote no kinds; a default request is written without one.
    del turn["request"]["noise_kind"]
    assert transcript_from_json(value).turns[0].request.noise_kind == "irrelevant"
