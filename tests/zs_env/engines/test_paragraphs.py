"""Gold paragraphs are only for matching queries, and noise never has the answer."""

import pickle

import pytest

from tests.paths import SHARED_DATA
from zs_env.engines import ParagraphEngine
from zs_env.metrics import contains_answer
from zs_env.questions import load_questions_file
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import SearchError, SearchRequest

REAL = SHARED_DATA / "passages"


def _paragraph(title, text, gold=False):
    return Paragraph(title=title, text=text, is_gold=gold)


LEAR = Question(
    id="lear",
    text="Who wrote the play about King Lear?",
    answers=("Shakespeare",),
    paragraphs=(
        _paragraph("Hamlet", "Hamlet is a tragedy by Shakespeare."),
        _paragraph("King Lear", "The play was written by Shakespeare.", gold=True),
        _paragraph("Lear jet", "A small aircraft of a king."),
        _paragraph("Oslo", "Oslo is a city in Norway."),
    ),
)
YES_NO = Question(
    id="yes",
    text="Is Oslo in Norway?",
    answers=("yes",),
    paragraphs=(
        _paragraph("Oslo", "Oslo lies in Norway.", gold=True),
        _paragraph("Yes", "Yes is a band that never played Oslo."),
    ),
)


def _page(engine, query, useful, question=LEAR):
    request = SearchRequest(query, question.text, question.answers, useful, 0)
    return engine.search([request])[0].documents


def _titles(*args, **kwargs):
    return [document.title for document in _page(*args, **kwargs)]


@pytest.fixture
def engine():
    return ParagraphEngine([LEAR, YES_NO])


def test_a_useful_page_shows_the_gold_paragraph_to_a_query_that_names_it(engine):
    assert _titles(engine, "king lear play", (True,)) == ["King Lear"]
    assert dict(_page(engine, "king lear play", (True,))[0].metadata) == {"is_gold": True}


@pytest.mark.parametrize("query", ["xyzzy", "the of a", "?!", "Norway"])
def test_a_query_without_a_shared_content_word_is_not_paid(engine, query):
    assert "King Lear" not in _titles(engine, query, (True,) * 5)


def test_the_page_stands_in_the_order_of_the_query_not_of_gold(engine):
    # "small aircraft jet" fits the jet in three words and the gold paragraph, by "king", in none
    # but one: gold is on the page and does not lead it.
    titles = _titles(engine, "king small aircraft jet", (True, True))
    assert titles == ["Lear jet", "King Lear"]


def test_a_noisy_page_holds_neither_gold_nor_answer(engine):
    for query in ("king lear play", "tragedy Hamlet Shakespeare", "xyzzy"):
        documents = _page(engine, query, (False,) * 5)
        assert documents
        for document in documents:
            assert not contains_answer(f"{document.title} {document.text}", LEAR.answers)


def test_an_answer_that_stands_only_in_a_title_counts():
    question = Question(
        id="title",
        text="Who wrote the play about King Lear?",
        answers=("Shakespeare",),
        paragraphs=(
            _paragraph("King Lear", "Its author wrote the play in 1606.", gold=True),
            _paragraph("Shakespeare, William", "A king of the stage who wrote plays."),
            _paragraph("Lear jet", "A small aircraft."),
        ),
    )
    engine = ParagraphEngine([question, YES_NO], min_distractors=0)
    titles = _titles(engine, "king who wrote plays lear", (False,) * 3, question=question)
    assert titles == ["Lear jet"]


def test_flags_are_honoured_place_by_place(engine):
    documents = _page(engine, "king lear", (False, True, False))
    assert [document.useful for document in documents] == [False, True, False]
    assert documents[1].title == "King Lear"
    assert documents[0].title == "Lear jet"  # the best that holds no answer


def test_no_paragraph_stands_twice_and_a_page_may_be_short(engine):
    texts = [document.text for document in _page(engine, "king lear", (True,) * 9)]
    assert len(set(texts)) == len(texts) == 5  # four of its own and a borrowed one


def test_containment_is_left_out_for_yes_no_questions():
    titles = _titles(ParagraphEngine([YES_NO], min_distractors=0), "Oslo", (False,), YES_NO)
    assert titles == ["Yes"]


def test_too_few_distractors_are_borrowed_from_other_questions():
    borrower = Question(
        id="b",
        text="Q?",
        answers=("Rome",),
        paragraphs=(_paragraph("Italy", "Its capital is Rome.", gold=True),),
    )
    engine = ParagraphEngine([borrower, LEAR, YES_NO])
    documents = _page(engine, "capital of Italy", (False,) * 2, borrower)
    assert {document.title for document in documents} == {"Hamlet", "Oslo"}
    assert not any(dict(document.metadata)["is_gold"] for document in documents)


def test_the_same_query_gives_the_same_page_in_any_company(engine):
    requests = [
        SearchRequest(query, LEAR.text, LEAR.answers, (True, False), seed)
        for seed, query in enumerate(["lear king", "oslo", "king lear"])
    ]
    together = engine.search(requests)
    assert together == [engine.search([request])[0] for request in requests]
    assert together[0] == together[2]
    assert pickle.loads(pickle.dumps(engine)).search(requests) == together


@pytest.mark.parametrize("text", ["Another question?", None])
def test_a_question_from_elsewhere_is_an_error_not_an_empty_page(engine, text):
    with pytest.raises(SearchError, match="pass the same questions to both"):
        engine.search([SearchRequest("lear", text, None, (True,), 0)])


def test_questions_without_paragraphs_are_refused():
    with pytest.raises(ValueError, match="none of the 1 questions has paragraphs"):
        ParagraphEngine([Question(id="q", text="Q", answers=("x",))])


def test_questions_without_end_are_refused_rather_than_read():
    class Endless:
        def __len__(self):
            return 2**31

        def __getitem__(self, index):
            raise AssertionError("read")

    with pytest.raises(ValueError, match="generated dataset has no paragraphs"):
        ParagraphEngine(Endless())


def test_the_fingerprint_follows_the_paragraphs(engine):
    assert engine.fingerprint == ParagraphEngine([LEAR, YES_NO]).fingerprint
    assert engine.fingerprint != ParagraphEngine([LEAR]).fingerprint


@pytest.mark.skipif(not REAL.is_dir(), reason="the real paragraph files are not here")
@pytest.mark.parametrize("path", sorted(REAL.glob("*.gz")), ids=lambda path: path.name)
def test_real_noisy_pages_hold_no_answer_and_useful_ones_most_of_the_gold(path):
    questions = load_questions_file(path)[:150]
    engine = ParagraphEngine(questions)
    gold = shown = 0
    for question in questions:
        for document in _page(engine, question.text, (False,) * 5, question):
            text = f"{document.title} {document.text}"
            assert not contains_answer(text, hidden_answers(question.text, question.answers))
            assert dict(document.metadata)["is_gold"] is False
        page = _page(engine, question.text, (True,) * 5, question)
        shown += sum(dict(document.metadata)["is_gold"] for document in page)
        gold += sum(paragraph.is_gold for paragraph in question.paragraphs)
    assert shown > 0.8 * gold
