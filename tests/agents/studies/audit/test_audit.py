"""The audit of hand-made questions against a hand-made corpus."""

import json
from dataclasses import replace

import pytest

from agents.studies.audit.audit import audit_sets
from agents.studies.audit.retrieval import Retrieval, gold_titles, retrieve_all
from zs_env import SearchError
from zs_env.engines import BM25Engine
from zs_env.questions.question import Paragraph, Question

pytest.importorskip("bm25s")

PASSAGES = [
    {"id": "tower", "title": "Tower", "text": "The tower was built by Ann Lee."},
    {"id": "sea", "title": "Sea", "text": "Salt water is wet."},
    {"id": "lee", "title": "Ann Lee", "text": "She was born in Rome."},
    {"id": "ship", "title": "Ship", "text": "A ship sank near the tower."},
    {"id": "tokyo", "title": "東京", "text": "東京は日本の首都である。"},
]


def _paragraph(title, is_gold=True):
    return Paragraph(title=title, text="anything", is_gold=is_gold)


def _question(text, *answers, gold=(), others=()):
    paragraphs = (*map(_paragraph, gold), *(_paragraph(title, False) for title in others))
    return Question(id=text, text=text, answers=answers, paragraphs=paragraphs)


@pytest.fixture(scope="module")
def engine():
    return BM25Engine.from_passages(PASSAGES)


def _retrieve(engine, question, top_k=5):
    (found,) = retrieve_all([question], engine, top_k=top_k)
    return found


@pytest.mark.parametrize(
    ("question", "answerable"),
    [
        (_question("Who built the tower?", "Ann Lee"), True),
        (_question("Who built the tower?", "Nobody", "ann lee!"), True),  # an alias
        (_question("Who built the tower?", "Bob"), False),
        (_question("Who built the tower?", "An"), False),  # no whole word
        (_question("What is salty?", "Sea"), False),  # "salty" is in no passage
        (_question("What is salt?", "Sea"), True),  # in the title of the passage
        (_question("東京はどこの首都\uff1f", "日本"), True),
        (_question("東京はどこの首都\uff1f", "中国"), False),
        (_question("???", "Ann Lee"), False),  # the question contains no word
    ],
)
def test_a_question_is_answerable_if_its_search_finds_a_gold_answer(engine, question, answerable):
    found = _retrieve(engine, question)
    assert found.answerable is answerable
    assert (found.rank is not None) is answerable and found.title_rank is None


def test_the_rank_is_that_of_the_first_passage_with_an_answer(engine):
    # Two words of the question are in "Ship", one is in "Tower".
    question = _question("What ship sank at the tower?", "Ann Lee")
    assert _retrieve(engine, question).rank == 2
    assert _retrieve(engine, question, top_k=1).rank is None


def test_the_titles_of_gold_documents_are_searched_too(engine):
    question = _question("Where is the home of its builder?", "Rome", gold=["Ann Lee", "Tower"])
    assert _retrieve(engine, question) == Retrieval(
        rank=None, title_rank=1, titles=2, titles_found=2
    )
    missing = _question("Where is the home of its builder?", "Rome", gold=["Castle"])
    found = _retrieve(engine, missing)
    assert (found.titles, found.titles_found, found.answerable) == (1, 0, False)
    # Distractors are no gold documents.
    distractor = _question("Where is the home of its builder?", "Rome", others=["Ann Lee"])
    assert _retrieve(engine, distractor).answerable is False


def test_gold_titles_are_distinct_and_not_empty():
    assert gold_titles(_question("?", "x", gold=["A", "", "B", "A "], others=["C"])) == ("A", "B")


@pytest.mark.parametrize(
    ("gold", "answerable"),
    [((), None), (("Tower",), True), (("tower", "Ship"), True), (("Tower", "Castle"), False)],
)
def test_a_yes_no_question_is_answerable_if_all_gold_documents_are_found(engine, gold, answerable):
    found = _retrieve(engine, _question("Is water wet, yes or no?", "yes", gold=gold))
    assert found.answerable is answerable and found.rank is None and found.title_rank is None


@pytest.mark.parametrize(
    ("names", "titles", "answerable"),
    [
        (("Tower", "Ship"), (2, 2), True),
        (("Tower", "Castle"), (2, 1), False),
        # "lee" and "tokyo" are ids of passages with other titles; "sea" is an id and a title.
        (("lee", "Tower"), (1, 1), True),
        (("lee", "Castle"), (1, 0), False),
        (("sea", " "), (1, 1), True),
        (("lee", "tokyo"), (0, 0), None),
    ],
)
def test_gold_documents_without_paragraphs_are_searched_by_title(engine, names, titles, answerable):
    question = replace(_question("Is water wet, yes or no?", "yes"), gold_titles=names)
    found = _retrieve(engine, question)
    assert ((found.titles, found.titles_found), found.answerable) == (titles, answerable)
    # Paragraphs come first.
    both = replace(question, paragraphs=(_paragraph("Sea"),))
    assert _retrieve(engine, both).titles == 1


def test_an_answer_found_by_a_passage_id_does_not_count(engine):
    # The search for "lee" finds the passage "Ann Lee", which contains "Rome".
    question = _question("Where is the home of its builder?", "Rome")
    assert _retrieve(engine, replace(question, gold_titles=("lee",))).answerable is False
    assert _retrieve(engine, replace(question, gold_titles=("Ann Lee",))).title_rank == 1


def test_batches_do_not_change_what_is_found(engine):
    questions = [_question(f"Who built tower {n}?", "Ann Lee") for n in range(150)]
    done = []
    found = retrieve_all(questions, engine, top_k=2, on_progress=done.append)
    assert found == [_retrieve(engine, one, top_k=2) for one in questions]
    assert done == [64, 128, 150]


def test_a_failed_search_ends_the_audit():
    class Down:
        def search(self, requests):
            return [SearchError("connection refused")] * len(requests)

    with pytest.raises(SearchError, match="connection refused"):
        retrieve_all([_question("Who?", "Ann")], Down(), top_k=1)


@pytest.fixture
def audit(tmp_path):
    path = tmp_path / "passages.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in PASSAGES), encoding="utf-8")
    sets = {
        "one": [
            _question("Who built the tower?", "Ann Lee"),
            _question("Who built a tower?", "Bob"),
            _question("Is water wet?", "yes"),
            _question("Where is the home of its builder?", "Rome", gold=["Ann Lee"]),
        ],
        "two": [_question("who built the tower", "Nobody")],
    }
    against = {"train": [_question("Is water wet", "no")]}
    return audit_sets(sets, path, BM25Engine(path), top_k=5, against=against)


def test_figures_count_the_questions_of_each_set(audit):
    one, two = audit.figures
    assert (one["set"], one["questions"], one["checked"], one["unknown"]) == ("one", 4, 3, 1)
    assert one["found"] == {"1": pytest.approx(1 / 3), "5": pytest.approx(1 / 3)}
    assert (one["with_titles"], one["found_by_title"]) == (1, 1.0)
    assert one["answerable"] == pytest.approx(2 / 3)  # of the three that are not unknown
    assert (one["repeated"], one["repeated_exactly"], one["conflicting"]) == (1, 0, 2)
    assert one["also_in"] == {"two": 2, "train": 1}
    assert two["also_in"] == {"one": 1, "train": 0} and two["answerable"] == 0.0
    assert two["found_by_title"] is None


def test_chance_is_that_of_as_many_random_passages(audit):
    # "Ann Lee" is in two of the five passages, "Rome" in one, "Bob" in none.
    chances = {row.answers[0]: row.chance for row in audit.rows}
    assert chances["Ann Lee"] == pytest.approx(1 - 0.6**5)
    assert chances["Rome"] == pytest.approx(1 - 0.8**5)
    assert chances["Bob"] == 0.0 and chances["yes"] is None
    assert audit.figures[0]["chance"] == pytest.approx((2 - 0.6**5 - 0.8**5) / 3)
    assert audit.rows[0].issues == ("frequent",)


def test_a_set_is_named_once(audit, engine, tmp_path):
    questions = [_question("Who?", "Ann")]
    with pytest.raises(ValueError, match="'one' twice"):
        audit_sets({"one": questions}, tmp_path, engine, against={"one": questions})
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
        audit_sets({"one": questions}, tmp_path, engine, top_k=0)


def test_equal_inputs_give_equal_files(audit, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        audit.write(tmp_path / name)
    for file in ("audit.json", "questions.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
