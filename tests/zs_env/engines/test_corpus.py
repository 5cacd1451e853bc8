"""Useful pages answer the question, noisy ones do not, and the query decides what is shown."""

import gzip
import json
import re
from dataclasses import replace
from itertools import islice

import pytest

from tests.paths import SHARED_DATA
from zs_env.config import build_engine
from zs_env.engines import BM25Engine, CorpusEngine, HybridEngine, ParagraphEngine
from zs_env.engines.retrieval.ranked_passages import PassageEngine
from zs_env.metrics import contains_answer
from zs_env.noise import NOISE_KINDS
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import SearchRequest
from zs_env.text.words import content_words

PASSAGES = [
    {"id": "p0", "title": "Hamlet", "text": "Hamlet is a tragedy about a prince and a king."},
    {"id": "p1", "title": "King Lear", "text": "King Lear is a play by Shakespeare."},
    {"id": "p2", "title": "Lear jet", "text": "The Lear jet is no play: a king flew in it."},
    {"id": "p3", "title": "William", "text": "William Shakespeare wrote plays about a king, Lear."},
    {"id": "p4", "title": "Oslo", "text": "Oslo is the capital of Norway."},
    {"id": "p5", "title": "Bergen", "text": "Bergen is a city of Norway, not its capital."},
    {"id": "p6", "title": "Shakespeares", "text": "The Shakespeares sang about a king."},
]
LEAR = Question(id="lear", text="Who wrote the play King Lear?", answers=("Shakespeare", "Bard"))
YES_NO = Question(id="yes", text="Is Oslo a capital?", answers=("yes",), gold_titles=(" oslo ",))
OTHER = Question(id="other", text="Who wrote Faust?", answers=("Goethe",))
QUESTIONS = [LEAR, YES_NO, OTHER]


CITIES = {
    "text": "Which city is the capital, Oslo or Bergen?",
    "answers": ("Oslo",),
}


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize(
    ("text", "answers"),
    [("Which is it, Oslo or Bergen?", ("Oslo", "Bergen")), (YES_NO.text, ("yes", "no"))],
)
def test_noise_does_not_depend_on_the_answer_of_a_comparison(kind, text, answers):
    names = ["Goethe", "Bo Ray", "Ann"]
    others = [Question(id=name, text=f"Who? {name}", answers=(name,)) for name in names]
    pages = []
    for answer in answers:
        asked = replace(YES_NO, text=text, answers=(answer,))
        engine = CorpusEngine(BM25Engine.from_passages(PASSAGES), [asked, *others])
        pages.append(
            [
                _page(engine, query, (False,) * 3, asked, noise_kind=kind)
                for query in ("oslo norway", "bergen", "king", text)
            ]
        )
    assert pages[0] == pages[1] and (kind == "empty" or any(pages[0]))


def test_noise_may_name_the_answer_of_a_comparison_as_well_as_the_other_name():
    comparison = Question(id="cities", **CITIES, gold_titles=("Oslo",))
    engine = CorpusEngine(BM25Engine.from_passages(PASSAGES), [comparison, LEAR, OTHER])
    useful = _page(engine, "capital norway", (True,) * 3, comparison)
    assert [dict(one.metadata)["is_gold"] for one in useful if one.title == "Oslo"] == [True]
    for kind in NOISE_KINDS[:-1]:
        documents = _page(engine, "capital norway", (False,) * 3, comparison, noise_kind=kind)
        # The passage about Bergen is no gold document. That it names no gold answer is not the
        # reason why it is shown, so its name says nothing.
        assert [one.title for one in documents] == ["Bergen"]
        assert documents[0].noise_kind == ("injected" if kind == "injected" else "irrelevant")
    # A passage that names the answer and is no gold document is noise as well.
    both = {"id": "p7", "title": "Trains", "text": "Trains to Oslo, the capital of Norway."}
    engine = CorpusEngine(BM25Engine.from_passages([*PASSAGES, both]), [comparison])
    noisy = _page(engine, "capital norway", (False,) * 3, comparison)
    assert {one.title for one in noisy} == {"Bergen", "Trains"}
    # Without gold documents the answer is all that is known.
    unknown = Question(id="unknown", **CITIES)
    engine = CorpusEngine(BM25Engine.from_passages([*PASSAGES, both]), [unknown])
    assert {one.title for one in _page(engine, "capital norway", (False,) * 3, unknown)} == {
        "Bergen"
    }


@pytest.fixture(scope="module")
def engine():
    return CorpusEngine(BM25Engine.from_passages(PASSAGES), QUESTIONS)


def _page(engine, query, useful, question=LEAR, **fields):
    request = SearchRequest(query, question.text, question.answers, useful, 0, **fields)
    return engine.search([request])[0].documents


def _ids(documents):
    return [dict(one.metadata)["passage_id"] for one in documents]


def test_a_useful_page_has_the_passages_with_an_answer_and_then_the_next_best(engine):
    documents = _page(engine, "play king lear", (True,) * 3)
    # Two passages name Shakespeare ("Shakespeares" is another word); the jet is the best other one.
    assert sorted(_ids(documents)) == ["p1", "p2", "p3"]
    assert [one.useful for one in documents] == [True] * 3
    # In the order of the retriever: where gold stands says nothing.
    ranked = BM25Engine.from_passages(PASSAGES).search(
        [SearchRequest("play king lear", None, None, (True,) * 7, 0)]
    )[0]
    order = _ids(ranked.documents)
    assert _ids(documents) == sorted(_ids(documents), key=order.index)


def test_a_noisy_page_has_the_best_passages_without_an_answer(engine):
    documents = _page(engine, "play king lear", (False,) * 3)
    assert _ids(documents)[0] == "p2"
    assert set(_ids(documents)) == {"p2", "p0", "p6"}
    assert [one.useful for one in documents] == [False] * 3
    assert [one.noise_kind for one in documents] == ["irrelevant"] * 3


def test_a_mixed_page_repeats_no_passage(engine):
    for useful, delivered in (
        ((True, False, True, False), [True, False, True, False]),
        # Only two passages answer, and the three other ones are the noise.
        ((False, True, False, True, True, True, False), [False, True, False, True, False]),
    ):
        documents = _page(engine, "play king lear", useful)
        assert len(set(_ids(documents))) == len(documents)
        assert [one.useful for one in documents] == delivered


@pytest.mark.parametrize("query", ["xyzzy", "the of a", "?!", ""])
def test_a_query_that_finds_nothing_gets_nothing(engine, query):
    assert _page(engine, query, (True,) * 3) == ()


def test_a_query_that_finds_no_answer_says_so(engine):
    documents = _page(engine, "capital norway", (True, True))
    assert _ids(documents) == ["p4", "p5"]
    for one in documents:
        assert (one.useful, one.noise_kind, one.checks) == (
            False,
            "irrelevant",
            ("not_retrieved",),
        )
    # Where noise was requested, nothing failed.
    noisy = _page(engine, "capital norway", (False, False))
    assert [one.checks for one in noisy] == [(), ()]


def test_a_yes_no_question_has_gold_documents_only(engine):
    # "yes" stands in no passage; the title is compared without case and spaces.
    documents = _page(engine, "capital norway", (True,), YES_NO)
    assert _ids(documents) == ["p4"]
    assert dict(documents[0].metadata)["is_gold"] is True
    assert _ids(_page(engine, "capital norway", (False, False), YES_NO)) == ["p5"]


def test_gold_documents_are_named_by_id_by_title_or_by_paragraphs():
    retriever = BM25Engine.from_passages(PASSAGES)
    paragraph = Paragraph(title="Bergen", text="elsewhere", is_gold=True)
    for fields in (
        {"gold_titles": ("P5",)},
        {"gold_titles": ("bergen",)},
        {"paragraphs": (paragraph,)},
    ):
        question = replace(YES_NO, **{"gold_titles": ()} | fields)
        engine = CorpusEngine(retriever, [question])
        assert _ids(_page(engine, "capital norway", (True,), question)) == ["p5"], fields


def test_a_question_that_the_engine_does_not_know_has_its_answers_only():
    engine = CorpusEngine(BM25Engine.from_passages(PASSAGES))
    assert engine.noise_kinds == ("irrelevant", "empty")
    assert _ids(_page(engine, "king lear", (True, True))) == ["p1", "p3"]
    assert [one.useful for one in _page(engine, "capital", (True,), YES_NO)] == [False]


class _Everything(PassageEngine):
    """A retriever that finds every passage for every query, as a dense one does."""

    name, fingerprint = "everything", "everything"

    def rank(self, query, count):
        return BM25Engine.from_passages(PASSAGES).rank("king lear play capital norway", count)


def test_no_retriever_pays_a_query_without_a_word_of_the_useful_passage():
    engine = CorpusEngine(_Everything(), QUESTIONS)
    paid = _page(engine, "wrote", (True,) * 7)
    assert "p3" in _ids(paid)
    junk = _page(engine, "xyzzy", (True,) * 7)
    assert junk
    assert not any(contains_answer(f"{one.title} {one.text}", LEAR.answers) for one in junk)
    assert {one.useful for one in junk} == {False}


def test_depth_limits_what_can_be_shown():
    retriever = BM25Engine.from_passages(PASSAGES)
    order = _ids(_page(retriever, "king lear play", (True,) * 7))
    depth = order.index("p3")
    shallow = CorpusEngine(retriever, QUESTIONS, depth=depth)
    assert "p3" not in _ids(_page(shallow, "king lear play", (True,) * depth))


def test_a_misleading_page_contradicts_the_useful_passages(engine):
    documents = _page(engine, "king lear play", (False,) * 3, noise_kind="misleading")
    assert _ids(documents)[:2] == ["p1", "p3"] or set(_ids(documents)) > {"p1", "p3"}
    for one in documents:
        assert not contains_answer(f"{one.title} {one.text}", LEAR.answers)
    false = [one for one in documents if one.noise_kind == "misleading"]
    assert len(false) == 2
    assert all("Goethe" in one.text for one in false)
    # Nothing true is contradicted by a query that does not find it.
    for query in ("xyzzy", "capital norway"):
        page = _page(engine, query, (False,) * 3, noise_kind="misleading")
        assert {one.noise_kind for one in page} <= {"irrelevant"}


def test_a_conflicting_page_has_true_and_false_statements(engine):
    documents = _page(engine, "king lear play", (False,) * 4, noise_kind="conflicting")
    has_answer = [contains_answer(f"{one.title} {one.text}", LEAR.answers) for one in documents]
    assert has_answer == [one.useful for one in documents]
    assert sum(has_answer) == 2
    assert sum(one.noise_kind == "conflicting" for one in documents) == 2


def test_injected_and_empty_pages(engine):
    injected = _page(engine, "king lear play", (False,) * 2, noise_kind="injected")
    assert all("Goethe" in one.text and one.noise_kind == "injected" for one in injected)
    assert _page(engine, "king lear play", (False,) * 2, noise_kind="empty") == ()


SEINE = Question(id="seine", text="Where is the Seine?", answers=("Paris",))
SEINE_PASSAGES = [
    {
        "id": "a",
        "title": "Seine",
        "text": "The Seine flows through Paris. Paris\u2019s river is old.",
    },
    {"id": "b", "title": "River", "text": "The Thames is longer than Paris's river, the Seine."},
    {"id": "c", "title": "Song", "text": "A song about the Seine is called \u201cParis\u201d."},
    {"id": "d", "title": "Line", "text": "The Paris\u2013Lyon line crosses the Seine."},
    {"id": "e", "title": "Boats", "text": "Boats of the Seine are flat."},
    {"id": "f", "title": "Fish", "text": "Fish of the Seine are small."},
]


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_no_noisy_document_mentions_the_answer_beside_punctuation(kind):
    engine = CorpusEngine(BM25Engine.from_passages(SEINE_PASSAGES), [SEINE, OTHER])
    for useful in ((False,) * 6, (True, False, False), (True,) * 6):
        documents = _page(engine, "seine river", useful, SEINE, noise_kind=kind)
        assert set(_ids(documents)) <= {"a", "e", "f"}
        noisy = [one for one in documents if not one.useful]
        assert bool(noisy) == (kind != "empty" and False in useful)
        for one in noisy:
            assert not re.search(r"(?<!\w)Paris(?!\w)", f"{one.title} {one.text}")


def test_a_page_may_hold_passages_that_mention_no_answer_only():
    engine = CorpusEngine(BM25Engine.from_passages(SEINE_PASSAGES[1:]), [SEINE, OTHER])
    for useful in ((False,) * 5, (True,) * 5):
        documents = _page(engine, "seine", useful, SEINE)
        assert sorted(_ids(documents)) == ["e", "f"]
        assert [one.useful for one in documents] == [False, False]


def test_the_retriever_has_to_rank_by_the_query_alone():
    question = replace(LEAR, paragraphs=(Paragraph(title="t", text="x", is_gold=True),))
    with pytest.raises(ValueError, match="not query-only"):
        CorpusEngine(ParagraphEngine([question]))
    with pytest.raises(ValueError, match="depth"):
        CorpusEngine(BM25Engine.from_passages(PASSAGES), depth=0)


def test_a_failure_of_the_retriever_fails_its_request_only():
    class Failing(_Everything):
        def rank(self, query, count):
            if query == "fail":
                raise RuntimeError("down")
            return super().rank(query, count)

    engine = CorpusEngine(Failing(), QUESTIONS)
    requests = [
        SearchRequest(query, LEAR.text, LEAR.answers, (True,), 0) for query in ("fail", "king")
    ]
    failed, page = engine.search(requests)
    assert "down" in str(failed)
    assert page.documents


def test_a_spec_names_a_passage_file_or_a_retriever(tmp_path):
    path = tmp_path / "passages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PASSAGES))
    plain = build_engine({"kind": "corpus", "passages": str(path)}, QUESTIONS)
    bm25 = {"kind": "bm25", "passages": str(path)}
    hybrid = build_engine(
        {"kind": "corpus", "retriever": {"kind": "hybrid", "engines": [bm25]}}, QUESTIONS
    )
    assert isinstance(hybrid.engines[0], HybridEngine)
    for useful in ((True, True), (False, False)):
        assert _ids(_page(plain, "king lear play", useful)) == _ids(
            _page(hybrid, "king lear play", useful)
        )
    for wrong in ({}, {"passages": str(path), "retriever": bm25}):
        with pytest.raises(ValueError, match="either 'passages'"):
            build_engine({"kind": "corpus", **wrong}, QUESTIONS)


def test_the_fingerprint_changes_with_all_that_decides_a_page():
    retriever = BM25Engine.from_passages(PASSAGES)
    engines = [
        CorpusEngine(retriever, QUESTIONS),
        CorpusEngine(retriever, QUESTIONS, depth=7),
        CorpusEngine(retriever, [LEAR, replace(YES_NO, gold_titles=("Bergen",)), OTHER]),
        CorpusEngine(retriever, [LEAR, YES_NO]),
        CorpusEngine(BM25Engine.from_passages(PASSAGES[1:]), QUESTIONS),
    ]
    assert len({engine.fingerprint for engine in engines}) == len(engines)
    assert engines[0].fingerprint == CorpusEngine(retriever, QUESTIONS).fingerprint


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the shared data is absent")
def test_the_laws_hold_for_two_thousand_real_questions():
    def rows(name, count):
        with gzip.open(SHARED_DATA / name, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in islice(lines, count)]

    retriever = BM25Engine.from_passages(rows("corpus/wiki_corpus.passages.jsonl.gz", 20_000))
    questions = [
        Question(id=row["id"], text=row["question"], answers=tuple(row["answers"]))
        for name in ("nq.test", "triviaqa.test", "hotpotqa.dev", "2wikimultihopqa.dev")
        for row in rows(f"eval/{name}.jsonl.gz", 500)
    ]
    assert len(questions) == 2000
    engine = CorpusEngine(retriever, questions)
    requests = [
        SearchRequest(query, one.text, one.answers, (useful,) * 5, seed)
        for seed, one in enumerate(questions)
        for query in (one.text, "qwxyzzy plugh")
        for useful in (True, False)
    ]
    delivered = 0
    for request, page in zip(requests, engine.search(requests), strict=True):
        texts = [f"{one.title} {one.text}" for one in page.documents]
        golds = () if request.answers in (("yes",), ("no",)) else request.answers
        answered = [contains_answer(text, golds) for text in texts]
        words = set(content_words(request.query))
        if not request.useful[0]:
            assert not any(answered)
            assert {one.useful for one in page.documents} <= {False}
        elif any(one.useful for one in page.documents):
            delivered += 1
            assert any(answered)
            assert all(one.useful and not one.checks for one in page.documents)
        else:
            assert not any(answered)
            assert all(one.checks == ("not_retrieved",) for one in page.documents)
        if request.query != request.question:
            assert not texts
        assert all(words & set(content_words(text)) for text in texts)
    assert delivered > 400
