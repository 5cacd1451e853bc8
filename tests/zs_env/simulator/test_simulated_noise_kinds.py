"""A simulator writes, checks and labels the kinds of noise that its prompts allow."""

from dataclasses import replace

import pytest

from zs_env.config import build_engine
from zs_env.engines import BM25Engine, ParagraphEngine, ScriptedEngine
from zs_env.noise import NOISE_KINDS
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import Document, SearchRequest
from zs_env.simulator import LanguageModelEngine, ScriptedTextGenerator, SimulatorPrompts
from zs_env.simulator.checks import failed_checks

PROMPTS = SimulatorPrompts(
    name="test",
    useful="useful|{num_documents}|{answer}",
    noisy="noisy|{num_documents}|nobody",
    misleading="misleading|{num_documents}|{wrong_answer}",
    num_words=5,
)
UNASKED = replace(PROMPTS, name="no question", useful="useful|{num_documents}|somebody")
QUESTIONS = [
    Question(id="1", text="Who was it?", answers=("Ada Byron",)),
    Question(id="2", text="Who else?", answers=("Eve Smith",)),
]
YES_NO = ["yes", "no"]
IDS = ("irrelevant", "injected", "empty")


class Recorded:
    """Writes documents that state what the prompt names, and keeps the prompts."""

    fingerprint, in_process = "recorded", True

    def __init__(self, script=None):
        self.texts = []
        self.script = script or self.good

    def generate(self, prompts):
        self.texts += [prompt.text for prompt in prompts]
        return ScriptedTextGenerator(self.script).generate(prompts)

    @staticmethod
    def good(prompt):
        kind, count, name = prompt.text.split("|")
        return "\n".join(f"Doc {n}: {kind} {n} was about {name}" for n in range(1, int(count) + 1))


def search(generator, kind, *useful, answers=("Ada Byron",), prompts=PROMPTS, **settings):
    engine = LanguageModelEngine(generator, prompts, **{"questions": QUESTIONS, **settings})
    (page,) = engine.search([SearchRequest("who", "Who was it?", answers, useful, 4, kind)])
    return page.documents


def labels(documents):
    return [(one.useful, one.noise_kind) for one in documents]


def test_misleading_documents_state_a_wrong_answer():
    generator = Recorded()
    documents = search(generator, "misleading", True, False, False)
    assert generator.texts == ["useful|1|Ada Byron", "misleading|2|Eve Smith"]
    assert labels(documents) == [(True, None), (False, "misleading"), (False, "misleading")]
    assert [dict(one.metadata) for one in documents] == [{}, *[{"wrong_answer": "Eve Smith"}] * 2]
    assert not any(one.checks for one in documents)


def test_a_misleading_text_with_the_gold_answer_is_written_again():
    texts = iter(["Doc 1: it was not Eve Smith but Ada Byron", "Doc 1: it was surely Eve Smith"])
    generator = Recorded(lambda prompt: next(texts))
    (document,) = search(generator, "misleading", False)
    assert document.text == "it was surely Eve Smith" and len(generator.texts) == 2


@pytest.mark.parametrize("kind", ["irrelevant", "misleading", "injected"])
def test_a_noisy_text_that_mentions_the_answer_beside_punctuation_is_written_again(kind):
    leaks = ["Eve Smith\u2019s \u201cAda Byron\u201d it was", "Eve Smith knew Ada Byron's cat"]
    texts = iter([f"Doc 1: {text}" for text in (*leaks, "it was surely Eve Smith")])
    (document,) = search(Recorded(lambda prompt: next(texts)), kind, False)
    assert document.checks == () and "Ada" not in document.text


def test_a_misleading_document_without_the_wrong_answer_is_delivered_as_irrelevant():
    (document,) = search(
        Recorded(lambda prompt: "Doc 1: it was somebody else"), "misleading", False
    )
    assert labels([document]) == [(False, "irrelevant")]
    assert document.checks == ("no_wrong_answer",) and document.metadata == ()


def test_conflicting_pages_have_true_documents_beside_false_ones():
    generator = Recorded()
    documents = search(generator, "conflicting", *[False] * 5)
    assert generator.texts == ["useful|3|Ada Byron", "misleading|2|Eve Smith"]
    assert sorted(labels(documents), key=str) == [(False, "conflicting")] * 2 + [(True, None)] * 3
    for document in documents:
        assert ("Ada Byron" in document.text) == document.useful
        assert ("Eve Smith" in document.text) != document.useful


def test_a_single_conflicting_document_is_misleading():
    assert labels(search(Recorded(), "conflicting", True, False))[1] == (False, "misleading")


def test_the_instruction_of_an_injected_document_is_not_written_by_the_model():
    generator = Recorded()
    documents = search(generator, "injected", False, True, False)
    assert generator.texts == ["useful|1|Ada Byron", "noisy|2|nobody"]
    assert labels(documents) == [(False, "injected"), (True, None), (False, "injected")]
    texts = [one.text for one in documents]
    assert "Eve Smith" in texts[0] and "Eve Smith" in texts[2] and "Eve" not in texts[1]
    assert len({text.replace("noisy 1", "").replace("noisy 2", "") for text in texts}) == 3
    assert not any(one.checks for one in documents), "the checks are about the model's text"


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize(
    ("text", "sides"),
    [("Who is older, Ada Byron or Eve Smith?", ["Ada Byron", "Eve Smith"]), ("Is it?", YES_NO)],
)
def test_noise_does_not_depend_on_the_answer_of_a_comparison(kind, text, sides):
    questions = [*QUESTIONS, Question(id="3", text="And who?", answers=("Cy Dow",))]
    pages = []
    for answer in sides:
        engine = LanguageModelEngine(Recorded(), PROMPTS, questions=questions)
        asked = [
            SearchRequest("who", text, (answer,), (False,) * 3, seed, kind) for seed in range(20)
        ]
        pages.append(engine.search(asked))
    assert pages[0] == pages[1]
    documents = [document for page in pages[0] for document in page.documents]
    assert {one.noise_kind for one in documents} <= {"irrelevant", "injected"}
    wrong = {dict(one.metadata)["wrong_answer"] for one in documents if kind == "injected"}
    names = {"Cy Dow"} | ({"Ada Byron", "Eve Smith"} if sides == YES_NO else set())
    assert wrong == (names if kind == "injected" else set())


def test_empty_noise_takes_no_call():
    generator = Recorded()
    assert search(generator, "empty", False, False) == () and generator.texts == []
    assert labels(search(generator, "empty", False, True)) == [(True, None)]
    assert generator.texts == ["useful|1|Ada Byron"]


@pytest.mark.parametrize("kind", ["misleading", "conflicting", "injected"])
def test_noise_is_irrelevant_if_no_wrong_answer_is_known(kind):
    for settings in ({"answers": None}, {"answers": ("1984",)}, {"questions": None}):
        settings = {**settings, "prompts": PROMPTS if "questions" in settings else UNASKED}
        generator = Recorded()
        assert labels(search(generator, kind, False, False, **settings)) == [
            (False, "irrelevant"),
            (False, "irrelevant"),
        ]
        assert generator.texts == ["noisy|2|nobody"]


def test_an_engine_declares_what_its_prompts_sources_and_questions_allow():
    def kinds(prompts, **settings):
        return LanguageModelEngine(Recorded(), prompts, **settings).noise_kinds

    with_answers = {"questions": QUESTIONS}
    assert kinds("prompted", **with_answers) == NOISE_KINDS
    assert kinds("tuned", **with_answers) == IDS
    assert kinds("prompted") == kinds("tuned") == ("irrelevant", "empty")
    bm25 = BM25Engine.from_passages([{"text": "x"}])
    assert kinds("grounded", sources=bm25, **with_answers) == IDS
    sources = ScriptedEngine(
        lambda _: ["x"], supports_noise=True, noise_kinds=("irrelevant", "misleading")
    )
    assert kinds("grounded", sources=sources) == ("irrelevant", "misleading", "empty")


def test_training_and_held_out_questions_have_the_same_fingerprint():
    # A cache that holds the pages of both is replayed as one.
    prints = {
        LanguageModelEngine(Recorded(), "tuned", questions=questions).fingerprint
        for questions in (None, QUESTIONS, QUESTIONS[:1])
    }
    assert len(prints) == 1


def test_a_spec_takes_wrong_answers_from_the_questions_of_the_environment():
    spec = {"kind": "simulator", "generator": Recorded()}
    assert build_engine(spec, QUESTIONS).noise_kinds == NOISE_KINDS
    nested = {"kind": "cache", "engine": {**spec, "questions": QUESTIONS[:1]}}
    assert build_engine(nested, []).noise_kinds == NOISE_KINDS


GROUNDED = SimulatorPrompts(
    name="grounded test", useful="{source}|{context}", noisy="{source}|", context="{answer}"
)
PARAGRAPHS = [
    Question(
        id=name,
        text=f"Who founded {name}?",
        answers=(founder,),
        paragraphs=(
            Paragraph(title=name, text=f"{name} was founded by {founder}.", is_gold=True),
            Paragraph(title="Mills", text=f"The mills of {name} are old.", is_gold=False),
        ),
    )
    for name, founder in (("Arda", "Ada Byron"), ("Belm", "Eve Smith"))
]


def grounded(kind, *useful, generator=None):
    engine = LanguageModelEngine(
        generator or Recorded(lambda prompt: prompt.text.split("|")[0]),
        GROUNDED,
        sources=ParagraphEngine(PARAGRAPHS, min_distractors=0),
        questions=PARAGRAPHS,
        retries=0,
    )
    request = SearchRequest("Arda", "Who founded Arda?", ("Ada Byron",), useful, 4, kind)
    return engine.search([request])[0].documents


def test_a_grounded_misleading_document_keeps_the_wrong_answer_of_its_source():
    generator = Recorded(lambda prompt: prompt.text.split("|")[0])
    (document,) = grounded("misleading", False, generator=generator)
    assert generator.texts == ["Arda: Arda was founded by Eve Smith.|Eve Smith"]
    assert labels([document]) == [(False, "misleading")]
    assert dict(document.metadata)["wrong_answer"] == "Eve Smith"
    assert dict(document.metadata)["support"] == 1.0


def test_a_grounded_page_has_the_kinds_that_its_sources_deliver():
    assert sorted(labels(grounded("conflicting", False, False)), key=str) == [
        (False, "conflicting"),
        (True, None),
    ]
    assert grounded("empty", False) == ()


def test_the_sources_of_injected_documents_have_no_instructions():
    generator = Recorded(lambda prompt: prompt.text.split("|")[0])
    (document,) = grounded("injected", False, generator=generator)
    assert generator.texts == ["Mills: The mills of Arda are old.|"]
    assert labels([document]) == [(False, "injected")] and "Eve Smith" in document.text


def test_a_document_must_state_the_wrong_answer_and_no_gold_answer():
    request = SearchRequest("q", "Q?", ("Ada",), (False,) * 3, 1)
    texts = ["it was Eve", "it was Ada", "it was neither"]
    checked = {"useful": False, "num_documents": 3, "num_words": 3, "wrong_answer": "Eve"}
    assert failed_checks(texts, request, **checked) == [
        (),
        ("leak", "no_wrong_answer"),
        ("no_wrong_answer",),
    ]


def test_documents_of_other_engines_keep_their_labels():
    sources = ScriptedEngine(
        lambda _: [Document("It was Eve Smith.", useful=False, noise_kind="misleading")],
        supports_noise=True,
        noise_kinds=("irrelevant", "misleading"),
    )
    engine = LanguageModelEngine(
        Recorded(lambda prompt: "It was somebody."), GROUNDED, sources=sources, retries=0
    )
    request = SearchRequest("who", "Who?", ("Ada Byron",), (False,), 4, "misleading")
    # The source does not say which wrong answer it states, so none is required.
    assert labels(engine.search([request])[0].documents) == [(False, "misleading")]
