"""Pages have the requested documents, in order, checked, for their own question."""

import pickle
from dataclasses import replace

import gymnasium
import pytest

from zs_env.engines import CachedEngine
from zs_env.search.types import SearchError, SearchPage, SearchRequest
from zs_env.simulator import (
    GenerationError,
    LanguageModelEngine,
    ScriptedTextGenerator,
    SimulatorPrompts,
)
from zs_env.simulator.generators.base import Completion, NoResponse, TextGenerator

# The prompt contains everything that the generator below needs.
PROMPTS = SimulatorPrompts(
    name="test",
    useful="{kind}|{num_documents}|{query}|{question}|{answers}",
    noisy="{kind}|{num_documents}|{query}|{question}|{answers}",
    num_words=4,
)
REQUEST = SearchRequest("who", "Who was it?", ("Ada",), (True, False, False, True, False), 7)


class Recorder(TextGenerator):
    """Generates pages that pass every check, and keeps the prompts."""

    fingerprint = "recorder"
    in_process = True

    def __init__(self, page=None):
        self.batches = []
        self.page = page or self.good

    def generate(self, prompts):
        self.batches.append(list(prompts))
        return [self.page(prompt) for prompt in prompts]

    @staticmethod
    def good(prompt):
        kind, count, query, _, answers = prompt.text.split("|")
        answer = answers if kind == "useful" else "nobody"
        lines = [f"Doc {n}: {kind} {n} {query} {answer}" for n in range(1, int(count) + 1)]
        return Completion("\n".join(lines), prompt_tokens=10, completion_tokens=20)


def engine(generator, **settings):
    return LanguageModelEngine(generator, PROMPTS, **settings)


def texts(page):
    return [document.text for document in page.documents]


def test_useful_and_noisy_documents_have_the_requested_ranks():
    generator = Recorder()
    (page,) = engine(generator).search([REQUEST])
    assert texts(page) == [
        "useful 1 who Ada",
        "noisy 1 who nobody",
        "noisy 2 who nobody",
        "useful 2 who Ada",
        "noisy 3 who nobody",
    ]
    assert [document.useful for document in page.documents] == [True, False, False, True, False]
    assert not any(document.checks for document in page.documents)
    assert (page.cost.calls, page.cost.prompt_tokens, page.cost.completion_tokens) == (2, 20, 40)
    assert [prompt.text for prompt in generator.batches[0]] == [
        "useful|2|who|Who was it?|Ada",
        "noisy|3|who|Who was it?|Ada",
    ]


def test_a_page_of_one_kind_is_one_text_and_equal_requests_share_a_page():
    generator = Recorder()
    useful = replace(REQUEST, useful=(True,) * 5)
    one, other, same = engine(generator).search([useful, replace(useful, query="whom"), useful])
    assert [len(batch) for batch in generator.batches] == [2]
    assert one == same and texts(other)[0] == "useful 1 whom Ada"
    assert (one.cost.completion_tokens, same.cost.completion_tokens) == (20, 0)  # generated once


def test_every_request_of_a_batch_gets_a_page_for_its_own_question():
    requests = [
        SearchRequest(f"q{n}", f"Question {n}?", (f"gold{n}",), (n % 2 == 0,) * 2, n)
        for n in range(50)
    ]
    for number, page in enumerate(engine(Recorder()).search(requests)):
        answer = f"gold{number}" if number % 2 == 0 else "nobody"
        assert all(text.endswith(f"q{number} {answer}") for text in texts(page))


def test_a_failed_text_is_generated_again_with_another_seed():
    seeds = []

    def script(prompt):
        seeds.append(prompt.seed)
        return "Doc 1: it was Eve again" if len(seeds) < 3 else "Doc 1: it was Ada again"

    generator = Recorder(lambda prompt: Completion(script(prompt), completion_tokens=5))
    simulator = engine(generator, retries=2)
    (page,) = simulator.search([replace(REQUEST, useful=(True,))])
    assert texts(page) == ["it was Ada again"] and page.documents[0].checks == ()
    assert len(set(seeds)) == 3 and all(0 <= seed < 2**63 for seed in seeds)
    assert (page.cost.calls, page.cost.completion_tokens) == (3, 15)


def test_the_best_failed_text_is_kept_with_its_checks():
    answers = iter(["", "Doc 1: Ada Ada Ada was here", "Doc 1: Ada"])
    simulator = engine(Recorder(lambda prompt: Completion(next(answers))), retries=2)
    (page,) = simulator.search([replace(REQUEST, useful=(False,))])
    assert texts(page) == ["Ada Ada Ada was here"]
    assert page.documents[0].checks == ("leak",)
    assert page.documents[0].useful is False


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("better", "worse"),
    [
        # Two documents that are too short, and a leak: one severe check is worse than two others.
        ("Doc 1: x\nDoc 2: y", "Doc 1: it was surely Ada\nDoc 2: it was surely Bob"),
        # A missing document is better than a leak.
        ("Doc 1: it was surely Bob", "Doc 1: it was surely Ada\nDoc 2: it was surely Bob"),
        # Any document is better than none.
        ("Doc 1: it was surely Ada", ""),
        # With equal severe checks, the longer page is better, then the one with fewer flaws.
        ("Doc 1: Ada\nDoc 2: Ada said so then", "Doc 1: it was surely Ada"),
        ("Doc 1: it was Ada\nDoc 2: it was Bob", "Doc 1: it was Ada\nDoc 2: y"),
    ],
)
def test_a_text_with_a_severe_flaw_is_kept_only_if_the_others_have_one(better, worse, order):
    outputs = iter([better, worse][::order])
    simulator = engine(Recorder(lambda prompt: Completion(next(outputs))), retries=1)
    (page,) = simulator.search([replace(REQUEST, useful=(False, False))])
    assert [f"Doc {n}: {text}" for n, text in enumerate(texts(page), 1)] == better.split("\n")
    leaks = [check for one in page.documents for check in one.checks if check == "leak"]
    assert bool(leaks) == ("Ada" in better)


def test_without_retries_failed_checks_are_only_reported():
    generator = Recorder(lambda prompt: Completion("Doc 1: Ada Ada Ada was here"))
    (page,) = engine(generator, retries=0).search([replace(REQUEST, useful=(False, False))])
    assert page.documents[0].checks == ("count", "leak")
    (page,) = engine(generator, retry_on=["length"]).search([replace(REQUEST, useful=(False,))])
    assert len(generator.batches) == 2


def test_only_failed_texts_are_generated_again():
    generator = Recorder()
    good = generator.page
    generator.page = lambda prompt: Completion("") if "bad" in prompt.text else good(prompt)
    pages = engine(generator, retries=1).search([REQUEST, replace(REQUEST, query="bad")])
    assert [len(batch) for batch in generator.batches] == [4, 2]
    assert len(pages[0].documents) == 5 and isinstance(pages[1], NoResponse)


@pytest.mark.parametrize("first", [Completion("<think>hm"), NoResponse("null")])
def test_a_text_after_one_without_a_response_is_a_page(first):
    outputs = iter([first, Completion("Doc 1: nobody was here then")])
    (page,) = engine(Recorder(lambda prompt: next(outputs)), retries=1).search(
        [replace(REQUEST, useful=(False,))]
    )
    assert texts(page) == ["nobody was here then"]


def test_a_failed_prompt_fails_only_its_request():
    generator = Recorder()
    good = generator.page
    error = GenerationError("no server")
    generator.page = lambda prompt: error if "bad" in prompt.text else good(prompt)
    simulator = engine(generator)
    page, failed = simulator.search([REQUEST, replace(REQUEST, query="bad")])
    assert isinstance(page, SearchPage) and failed is error


def test_a_failed_retry_keeps_the_earlier_text():
    answers = iter([Completion("Doc 1: Ada Ada was here"), GenerationError("gone")])
    (page,) = engine(Recorder(lambda prompt: next(answers)), retries=1).search(
        [replace(REQUEST, useful=(False,))]
    )
    assert texts(page) == ["Ada Ada was here"]


def test_a_missing_question_fails_only_its_request():
    page, failed = engine(Recorder()).search([REQUEST, replace(REQUEST, question=None)])
    assert isinstance(page, SearchPage)
    assert isinstance(failed, SearchError) and "came without its question" in str(failed)


def test_a_generator_must_return_one_text_per_prompt():
    class Broken:
        def generate(self, prompts):
            return []

    with pytest.raises(SearchError, match="0 texts for 2 prompts"):
        engine(Broken()).search([REQUEST])


def test_the_fingerprint_depends_on_all_settings():
    generator = Recorder()
    prints = {
        engine(generator).fingerprint,
        engine(generator, retries=0).fingerprint,
        engine(generator, retry_on=["leak"]).fingerprint,
        LanguageModelEngine(generator, "tuned").fingerprint,
        LanguageModelEngine(generator, replace(PROMPTS, date="today")).fingerprint,
        engine(ScriptedTextGenerator(Recorder.good, fingerprint="other")).fingerprint,
    }
    assert len(prints) == 6


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="prompted"):
        LanguageModelEngine(Recorder(), "promted")
    with pytest.raises(ValueError, match="leak"):
        engine(Recorder(), retry_on=["leek"])
    with pytest.raises(ValueError, match="must not be negative"):
        engine(Recorder(), retries=-1)


def test_recorded_pages_are_replayed_without_the_generator(tmp_path):
    path = tmp_path / "pages.sqlite"
    recorded = CachedEngine(engine(Recorder()), path, "record")
    pages = recorded.search([REQUEST])
    recorded.close()
    replayed = CachedEngine(None, path, "replay")
    assert replayed.search([REQUEST])[0].documents == pages[0].documents
    replayed.close()


def _episode(seed):
    def write(prompt):
        # As with a model, the text depends only on prompt and seed.
        return "\n".join(f"Doc {n}: {prompt.seed} said {n} times" for n in range(1, 6))

    simulator = LanguageModelEngine(ScriptedTextGenerator(write), "tuned", retries=0)
    env = gymnasium.make("ZeroSearch-v0", engine=simulator)
    env.reset(seed=seed, options={"noise_probability": 0.5})
    pages = [env.step("<search>a</search>")[0]["documents"] for _ in range(3)]
    env.close()
    return pages


def test_the_same_seed_gives_the_same_episode():
    assert _episode(3) == _episode(3)
    assert _episode(3) != _episode(4)
    assert len(set(_episode(3))) == 3, "a repeated query has another page"


def test_a_copy_works():
    copy = pickle.loads(pickle.dumps(LanguageModelEngine(Recorder.__new__(Recorder), PROMPTS)))
    copy.generator = Recorder()
    assert len(copy.search([REQUEST])[0].documents) == 5


def test_the_seed_decides_the_order_of_shuffled_documents():
    text = "Doc 1: one a\nDoc 2: two a\nDoc 3: three a\n"
    engine = LanguageModelEngine(ScriptedTextGenerator(lambda prompt: text), "tuned", retries=0)
    asked = [SearchRequest("q", "Q?", ("a",), (True,) * 3, seed) for seed in range(40)]
    shown = [tuple(one.text for one in page.documents) for page in engine.search(asked)]
    assert all(sorted(page) == ["one a", "three a", "two a"] for page in shown)
    assert len(set(shown)) == 6  # every order comes up
    assert [tuple(one.text for one in page.documents) for page in engine.search(asked)] == shown
    plain = LanguageModelEngine(ScriptedTextGenerator(lambda prompt: text), "prompted", retries=0)
    assert {tuple(one.text for one in page.documents) for page in plain.search(asked)} == {
        ("one a", "two a", "three a")
    }
