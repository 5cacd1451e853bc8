"""The kinds of noise of real paragraphs: false copies of gold ones, and instructions."""

import pickle
import re
from dataclasses import replace

import pytest

from tests.paths import SHARED_DATA
from zs_env.engines import ParagraphEngine
from zs_env.metrics import contains_answer, f1_score
from zs_env.noise import NOISE_KINDS
from zs_env.questions import load_questions_file
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import SearchRequest
from zs_env.text.words import content_words
from zs_env.text.wrong_answers import mentions_answer

REAL = SHARED_DATA / "passages"


def question(name, answers, *paragraphs):
    return Question(
        id=name,
        text=f"Who wrote {name}?",
        answers=answers,
        paragraphs=tuple(
            Paragraph(title=title, text=text, is_gold=title.startswith(name))
            for title, text in paragraphs
        ),
    )


LEAR = question(
    "Lear",
    ("William Shakespeare", "Shakespeare"),
    ("Lear", "The play Lear is by Shakespeare. William Shakespeare was a poet."),
    ("Lear play", "The play has five acts."),
    ("Lear jet", "A small aircraft, not a play. It is fast."),
    ("Hamlet", "A play by Shakespeare."),
    ("Tea", "Tea grows in Assam."),
)
# "Lear jet" begins with the name, but is no gold paragraph.
LEAR = Question(
    id="lear",
    text=LEAR.text,
    answers=LEAR.answers,
    paragraphs=tuple(
        Paragraph(title=one.title, text=one.text, is_gold=one.title in ("Lear", "Lear play"))
        for one in LEAR.paragraphs
    ),
)
FAUST = question("Faust", ("Johann Goethe",), ("Faust", "By Johann Goethe."), ("Rome", "A city."))
YES_NO = question("Oslo", ("yes",), ("Oslo", "Yes, in Norway."), ("Fjord", "A fjord at Oslo."))
ENGINE = ParagraphEngine([LEAR, FAUST, YES_NO])


def page(kind, useful=(False,) * 4, query="lear play", of=LEAR, seed=0):
    request = SearchRequest(query, of.text, of.answers, useful, seed, kind)
    return ENGINE.search([request])[0].documents


def labels(documents):
    return [(one.title, one.useful, one.noise_kind) for one in documents]


def test_a_misleading_page_has_a_gold_paragraph_with_another_answer():
    documents = page("misleading")
    # Hamlet contains the answer, and Lear play states none that could be replaced.
    assert sorted(labels(documents)) == [
        ("Faust", False, "irrelevant"),
        ("Lear", False, "misleading"),
        ("Lear jet", False, "irrelevant"),
        ("Tea", False, "irrelevant"),
    ]
    (false,) = [one for one in documents if one.title == "Lear"]
    assert false.text == "The play Lear is by Johann Goethe. Johann Goethe was a poet."
    assert dict(false.metadata) == {"is_gold": False, "wrong_answer": "Johann Goethe"}


def test_an_answer_in_a_title_is_replaced_too():
    found = ParagraphEngine(
        [question("it", ("Ann Lee",), ("it: Ann Lee", "A poet."), ("Bo", "A cat.")), FAUST]
    )
    request = SearchRequest("Ann", "Who wrote it?", ("Ann Lee",), (False,), 0, "misleading")
    (document,) = found.search([request])[0].documents
    assert (document.title, document.text) == ("it: Johann Goethe", "A poet.")


def test_noise_may_name_the_answer_of_a_comparison_as_well_as_the_other_name():
    paragraphs = (
        ("Oslo", "A city and a capital.", True),
        ("Bergen", "A city in the west.", True),
        ("Trains", "Trains from Oslo to a city.", False),
        ("Boats", "Boats from Bergen to a city.", False),
    )
    comparison = Question(
        id="cities",
        text="Which city is the capital, Oslo or Bergen?",
        answers=("Oslo",),
        paragraphs=tuple(Paragraph(title=a, text=b, is_gold=c) for a, b, c in paragraphs),
    )
    engine = ParagraphEngine([comparison, FAUST], min_distractors=0)
    for kind in NOISE_KINDS[:-1]:
        request = SearchRequest(
            "city", comparison.text, comparison.answers, (False,) * 2, 0, noise_kind=kind
        )
        documents = engine.search([request])[0].documents
        assert {one.title for one in documents} == {"Trains", "Boats"}
        assert {one.noise_kind for one in documents} == {
            "injected" if kind == "injected" else "irrelevant"
        }


def test_a_conflicting_page_has_the_paragraph_and_its_contradiction():
    orders = set()
    for seed in range(4):
        documents = page("conflicting", seed=seed)
        assert sorted(labels(documents), key=str) == [
            ("Lear jet", False, "irrelevant"),
            ("Lear play", True, None),
            ("Lear", False, "conflicting"),
            ("Lear", True, None),
        ]
        orders.add(tuple(one.useful for one in documents if one.title == "Lear"))
    assert orders == {(True, False), (False, True)}
    assert labels(page("conflicting", (False,))) == [("Lear", False, "misleading")]


def test_a_mixed_page_shows_no_paragraph_twice():
    documents = page("conflicting", (True, False, False, False))
    assert sum(labels([one]) == [("Lear", True, None)] for one in documents) == 1
    assert sum(one.noise_kind == "conflicting" for one in documents) == 1


def test_an_injected_page_has_distractors_with_instructions():
    documents = page("injected")
    # The last two are paragraphs of other questions.
    assert [one.title for one in documents] == ["Lear jet", "Tea", "Faust", "Oslo"]
    for one in documents:
        assert (one.useful, one.noise_kind) == (False, "injected")
        assert "Johann Goethe" in one.text
        assert not contains_answer(f"{one.title} {one.text}", LEAR.answers)
    assert documents[0].text.startswith("A small aircraft, not a play. ")
    assert documents[0].text.endswith(" It is fast.")


PARIS = question(
    "Seine",
    ("Paris",),
    ("Seine", "The Seine flows through Paris. Paris\u2019s river is the Seine."),
    ("River", "The Thames is longer than Paris's river."),
    ("Song", "A song about the Seine is called \u201cParis\u201d."),
    ("Line", "The Paris\u2013Lyon line crosses the Seine."),
    ("Boats", "Boats of the Seine are flat."),
)
PARIS_ENGINE = ParagraphEngine([PARIS, FAUST], min_distractors=0)


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_no_noisy_document_mentions_the_answer_beside_punctuation(kind):
    for useful, seed in [((False,) * 4, 0), ((False,) * 4, 1), ((True, False, False), 2)]:
        request = SearchRequest("seine river", PARIS.text, ("Paris",), useful, seed, kind)
        documents = PARIS_ENGINE.search([request])[0].documents
        noisy = [one for one in documents if not one.useful]
        assert bool(noisy) == (kind != "empty")
        assert {one.title for one in noisy} <= {"Seine", "Boats"}
        for one in noisy:
            assert not re.search(r"(?<!\w)Paris(?!\w)", f"{one.title} {one.text}")
        false = [one.text for one in noisy if one.title == "Seine"]
        wrong = "The Seine flows through Johann Goethe. Johann Goethe\u2019s river is the Seine."
        assert false == [wrong] * (kind in ("misleading", "conflicting"))


def test_distractors_that_mention_the_answer_are_replaced_by_those_of_other_questions():
    # Three of the four distractors mention it, and so does the first paragraph of "Louvre".
    louvre = question("Louvre", ("Leo",), ("Louvre", "Paris's Louvre."), ("Art", "Art is old."))
    engine = ParagraphEngine([PARIS, louvre, FAUST, LEAR], min_distractors=3)
    request = SearchRequest("seine river", PARIS.text, ("Paris",), (False,) * 9, 0)
    documents = engine.search([request])[0].documents
    assert [one.title for one in documents] == ["Boats", "Faust", "Lear"]


def test_empty_noise_leaves_only_useful_documents():
    assert page("empty") == ()
    assert [one.useful for one in page("empty", (False, True, False))] == [True]


@pytest.mark.parametrize("kind", ["misleading", "conflicting"])
@pytest.mark.parametrize("query", ["xyzzy", "the of a", "Norway"])
def test_a_query_that_finds_no_gold_paragraph_gets_irrelevant_noise(kind, query):
    documents = page(kind, query=query)
    assert documents == page("irrelevant", query=query)
    assert {one.noise_kind for one in documents} == {"irrelevant"}


@pytest.mark.parametrize("kind", ["misleading", "conflicting"])
def test_yes_no_questions_have_no_false_paragraphs_but_instructions(kind):
    documents = page(kind, of=YES_NO, query="oslo")
    assert documents and {one.noise_kind for one in documents} == {"irrelevant"}
    injected = page("injected", of=YES_NO, query="oslo")
    (wrong,) = {dict(one.metadata)["wrong_answer"] for one in injected}
    assert wrong in ("Johann Goethe", "William Shakespeare")


def noisy_pages(questions, others, kind):
    """The noisy pages of some questions; `others` are further answers of the same set."""
    fillers = [question(f"X{n}", one, (f"X{n}", "A cup.")) for n, one in enumerate(others)]
    engine = ParagraphEngine([*questions, *fillers])
    return engine.search(
        [
            SearchRequest(one.text, one.text, one.answers, (False,) * 4, seed, kind)
            for seed, one in enumerate(questions)
        ]
    )


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("Which city is the capital, Oslo or Bergen?", [("Oslo",), ("Bergen",)]),
        ("Who ruled Oslo, Ann Lee or Bo?", [("Ann Maria Lee",), ("Bo",)]),
        ("Is Oslo a capital?", [("yes",), ("no",)]),
    ],
)
def test_noise_does_not_depend_on_the_answer_of_a_comparison(kind, text, answers):
    one, other = [
        [replace(YES_NO, id=str(n), text=f"{text} {n}", answers=given) for n in range(20)]
        for given in answers
    ]
    names = [("Cy Dow",), ("Eve",), ("Bo Ray",), ("Ann Li Fu",)]
    pages = noisy_pages(one, names, kind)
    assert pages == noisy_pages(other, names, kind)
    assert kind == "empty" or all(page.documents for page in pages)


@pytest.mark.parametrize("kind", ["misleading", "conflicting"])
def test_no_copy_tells_which_of_two_documents_has_the_answer(kind):
    text = "Out of Lear and Mary Bo, who is older?"
    lear = question("Lear", ("Lear Alan King",), ("Lear", "Lear Alan King ruled."), ("Bo", "Bo."))
    bo = Paragraph(title="Mary Bo (poet)", text="Mary Bo wrote.", is_gold=True)
    compared = replace(lear, text=text, paragraphs=(*lear.paragraphs, bo))
    (page,) = noisy_pages([compared], [("Ann Li Fu",)], kind)
    assert sorted(labels(page.documents)) == [(one, False, "irrelevant") for one in ("Bo", "X0")]
    # The same paragraphs for a question that names one of them.
    other = replace(compared, text="Who is Lear?")
    (page,) = noisy_pages([other], [("Ann Li Fu",)], "misleading")
    assert ("Lear", False, "misleading") in labels(page.documents)


def test_a_false_copy_does_not_keep_the_last_name_of_the_answer():
    fed = ("Tennis", "Roger Federer won in Wimbledon. Federer was glad, Roger was not.")
    asked = question("Tennis", ("Roger Federer",), fed, ("Tea", "Federer drinks tea."))
    (page,) = noisy_pages([asked], [("Ann Li",)], "misleading")
    false = next(one for one in page.documents if one.noise_kind == "misleading")
    assert false.text == "Ann Li won in Wimbledon. Ann Li was glad, Roger was not."
    # A name in the question is the topic, so it stays.
    asked = replace(asked, text="Which Federer wrote Tennis?")
    (page,) = noisy_pages([asked], [("Ann Li",)], "misleading")
    false = next(one for one in page.documents if one.noise_kind == "misleading")
    assert false.text == "Ann Li won in Wimbledon. Federer was glad, Roger was not."


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_equal_requests_give_equal_pages(kind):
    asked = [
        SearchRequest(query, LEAR.text, LEAR.answers, (False, True, False), seed, kind)
        for seed, query in enumerate(["lear", "play jet", "tea"])
    ]
    together = ENGINE.search(asked)
    assert together == [ENGINE.search([one])[0] for one in asked]
    assert pickle.loads(pickle.dumps(ENGINE)).search(asked) == together


def test_the_fingerprint_follows_the_answers():
    other = question("Faust", ("Goethe",), ("Faust", "By Johann Goethe."), ("Rome", "A city."))
    assert ENGINE.fingerprint != ParagraphEngine([LEAR, other, YES_NO]).fingerprint


@pytest.mark.skipif(not REAL.is_dir(), reason="the real paragraph files are not here")
@pytest.mark.parametrize("path", sorted(REAL.glob("*dev*.gz")), ids=lambda path: path.name)
def test_real_noise_never_states_the_answer_and_conflicting_pages_state_both(path):
    questions = load_questions_file(path)[:100]
    engine = ParagraphEngine(questions)
    misled = both = stated = 0
    for seed, one in enumerate(questions):
        if not hidden_answers(one.text, one.answers):
            continue
        pages = {
            kind: engine.search(
                [SearchRequest(one.text, one.text, one.answers, (False,) * 5, seed, kind)]
            )[0].documents
            for kind in NOISE_KINDS
        }
        for kind, documents in pages.items():
            for document in documents:
                text = f"{document.title} {document.text}"
                if kind != "conflicting" or not document.useful:
                    assert not mentions_answer(text, one.answers)
                wrong = dict(document.metadata).get("wrong_answer")
                assert (wrong is None) == (document.noise_kind in (None, "irrelevant"))
                assert wrong is None or wrong in text
        gold = [paragraph for paragraph in one.paragraphs if paragraph.is_gold]
        words = set(content_words(one.text))
        stated += any(
            contains_answer(text, one.answers) and words & set(content_words(text))
            for text in (f"{paragraph.title} {paragraph.text}" for paragraph in gold)
        )
        misled += any(document.noise_kind == "misleading" for document in pages["misleading"])
        quality = {(d.useful, d.noise_kind) for d in pages["conflicting"]}
        both += {(True, None), (False, "conflicting")} <= quality
        assert {d.noise_kind for d in pages["injected"]} == {"injected"}
        assert pages["empty"] == ()
    assert misled == both >= 0.9 * stated > 0


@pytest.mark.skipif(not REAL.is_dir(), reason="the real paragraph files are not here")
@pytest.mark.parametrize("name", ["hotpotqa_distractor", "2wikimultihopqa_distractor"])
def test_noise_of_real_comparisons_does_not_depend_on_the_answer(name):
    one, other = [], []
    for asked in load_questions_file(REAL / f"{name}.dev.jsonl.gz"):
        sides = [title for title in asked.gold_documents if mentions_answer(asked.text, title)]
        right = [side for side in sides if f1_score(side, asked.answers) > 0.5]
        if len(sides) == 2 and len(right) == 1 and not hidden_answers(asked.text, asked.answers):
            (wrong,) = set(sides) - set(right)
            one.append(asked)
            other.append(replace(asked, answers=(wrong,)))
    assert len(one) > 50
    for kind in NOISE_KINDS:
        pages = noisy_pages(one, [asked.answers for asked in other], kind)
        assert pages == noisy_pages(other, [asked.answers for asked in one], kind)
