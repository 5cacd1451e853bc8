"""Requested noise happens, or it is an error; the seed of a page is independent of it."""

import gymnasium
import numpy as np
import pytest

import envs_registry  # noqa: F401  (registers the ids)
from zs_env import Document, Question, SearchPage, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.engines import (
    BM25Engine,
    CachedEngine,
    HybridEngine,
    MeteredEngine,
    MixtureEngine,
    ScriptedEngine,
)
from zs_env.episode import Episode
from zs_env.noise import AdaptiveNoise, NoiseSchedule, check_noise
from zs_env.search.engine import as_engine, search_checked
from zs_env.search.types import SearchRequest
from zs_env.simulator import LanguageModelEngine, SimulatorPrompts
from zs_env.simulator.generators.base import TextGenerator
from zs_env.text.hashing import stable_hash, uniform

QUESTIONS = [Question(id=str(n), text=f"Question {n}?", answers=("Ann",)) for n in range(8)]


def bm25():
    return BM25Engine.from_passages([{"text": "Ann Lee built the bridge."}, {"text": "Tea grows."}])


class UserNoise:
    def probability(self, step):
        return 0.25 * step


NOISE = (
    0.5,
    1,
    np.float32(0.5),
    NoiseSchedule(0.0, 0.5),
    AdaptiveNoise(0.0, 0.3),
    {"start": 0.5, "end": 0.0},
)


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda engine: engine,
        CachedEngine,
        MeteredEngine,
        lambda engine: HybridEngine([engine]),
        lambda engine: MixtureEngine([engine, ScriptedEngine(lambda _: [], supports_noise=True)]),
    ],
)
def test_noise_that_an_engine_cannot_produce_is_an_error_that_names_others(noise, wrap):
    engine = wrap(bm25())
    for make in (
        ZeroSearchEnv,
        lambda *rest, **settings: ZeroSearchVectorEnv(2, *rest, **settings),
    ):
        with pytest.raises(ValueError, match=r"cannot return noisy.*'world', 'paragraphs'"):
            make(QUESTIONS, engine, noise=noise)
    with pytest.raises(ValueError, match="cannot return noisy"):
        check_noise(as_engine(engine), noise)


@pytest.mark.parametrize(
    "options", [{"noise_probability": 0.1}, {"flipped_turn": 0}, {"training_step": 1}]
)
def test_noise_of_one_episode_is_an_error_too(options):
    noise = UserNoise() if "training_step" in options else 0.0
    env = ZeroSearchEnv(QUESTIONS, bm25(), noise=noise)
    env.reset(seed=0)  # step 0, without noise
    with pytest.raises(ValueError, match="cannot return noisy documents"):
        env.reset(options=options)
    vector = ZeroSearchVectorEnv(2, QUESTIONS, bm25(), noise=noise)
    with pytest.raises(ValueError, match="cannot return noisy documents"):
        vector.reset(options=options)
    env.reset(seed=0, options={"noise_probability": 0.0, "flipped_turn": None})


def test_a_registered_environment_refuses_noise_on_a_real_engine():
    with pytest.raises(ValueError, match="'bm25' cannot return noisy"):
        gymnasium.make("ZeroSearch-v0", engine={"kind": "bm25"}, noise=0.5)
    env = gymnasium.make("ZeroSearch-v0", engine={"kind": "bm25"})
    env.reset(seed=0, options={"noise_probability": 0.0})


def test_nobody_controls_the_quality_of_a_real_page():
    env = ZeroSearchEnv(QUESTIONS, bm25(), num_documents=1)
    env.reset(seed=0)
    *_, info = env.step("<search>bridge</search>")
    (document,) = info["documents"]
    assert (document.useful, document.contains_answer) == (None, True)


def test_a_declared_quality_is_the_requested_one_and_an_own_label_stays():
    class Honours:
        supports_noise = True

        def search(self, requests):
            own = Document("labelled", useful=True)
            return [SearchPage((Document("plain"), own)) for _ in requests]

    noisy = SearchRequest("q", None, None, (False, False), 0)
    (page,) = search_checked(as_engine(Honours()), [noisy])
    assert isinstance(page, SearchPage)
    assert [one.useful for one in page.documents] == [False, True]


def test_a_simulator_supports_noise_if_its_prompts_differ():
    def supports(useful, noisy):
        prompts = SimulatorPrompts(name="x", useful=useful, noisy=noisy)
        return LanguageModelEngine(TextGenerator(), prompts).supports_noise

    assert supports("useful {query}", "noisy {query}")
    assert supports("{kind} {query}", "{kind} {query}")
    assert not supports("{query}", "{query}")


def test_the_seed_of_a_page_reveals_nothing_about_its_quality():
    requests = [
        Episode(QUESTIONS[0], noise_probability=0.5, seed=seed).act("<search>x</search>")
        for seed in range(2000)
    ]
    assert all(isinstance(one, SearchRequest) for one in requests)
    for bit in (62, 61, 30, 1, 0):
        equal = sum(one.useful[0] == bool(one.seed >> bit & 1) for one in requests)
        assert 866 <= equal <= 1134, bit  # 1000 ± 6 standard deviations
    # The quality itself is the draw of the episode's seed, query and count.
    for seed, one in enumerate(requests):
        assert one.useful[0] == (uniform(stable_hash(f"{seed}\0x\0" + "0")) >= 0.5)
