"""What documents say about names."""

import pytest

from agents.sb3.evidence import find_spans, read_evidence
from tests.agents.sb3.pages import PROMPT, page

CHAIN = "Who is the mayor of the birthplace of Ann Lee?"
MAYOR, BIRTHPLACE, ANN = 0, 1, 2


def _names(question, *pages):
    return read_evidence(question, PROMPT + "".join(pages)).names


@pytest.mark.parametrize(
    ("text", "names", "phrases"),
    [
        (CHAIN, ["Ann Lee"], ["mayor", "birthplace"]),
        (
            "Which has the earlier birth year, Ann Lee or Bo Ray?",
            ["Ann Lee", "Bo Ray"],
            ["earlier birth year"],
        ),
        ("The Great Bo met him in Tal Vey. In 1850 he left.", ["Great Bo", "Tal Vey", "1850"], []),
        ("a fooBo of Bo", ["Bo"], ["fooBo"]),
        ("born 4 July 1776, aged 12,000", ["4 July 1776", "12,000"], ["born", "aged"]),
        ("", [], []),
    ],
)
def test_a_text_is_split_into_names_and_key_phrases(text, names, phrases):
    spans = find_spans(text)
    assert [span.text for span in spans if span.is_name] == names
    assert [span.text for span in spans if not span.is_name][: len(phrases)] == phrases
    assert all(text[span.start :].startswith(span.text) for span in spans)


def test_the_tags_of_the_prompt_are_no_page():
    evidence = read_evidence(CHAIN, PROMPT)
    assert not evidence.queries
    assert list(evidence.names) == ["Ann Lee"]


def test_searches_are_counted_whatever_the_query_contains():
    pages = page("x", "One.", "Two."), page("x"), page("x < y", "Three."), page("<b>", "Four.")
    assert read_evidence(CHAIN, PROMPT + "".join(pages)).queries == {"x": 2, "x < y": 1, "<b>": 1}


def test_a_chain_of_sentences_connects_a_name_to_the_question():
    documents = ("The birthplace of Ann Lee is Tal Vey.", "Bo Ray is the mayor of Tal Vey.")
    names = _names(CHAIN, page("x", *documents))
    assert names["Tal Vey"].covered == {BIRTHPLACE, ANN}
    assert names["Bo Ray"].covered == {MAYOR, BIRTHPLACE, ANN}
    assert names["Ann Lee"].covered == {ANN}


def test_a_sentence_without_a_known_name_connects_nothing():
    names = _names(CHAIN, page("x", "The mayor of Tal Vey is Bo Ray."))
    assert not names["Tal Vey"].covered and not names["Bo Ray"].covered


def test_two_conditions_meet_in_one_name():
    question = "Which work has the author Ann Lee and the publisher Cor Dex?"
    documents = ("The author of Qua Rum is Ann Lee.", "Cor Dex is the publisher of Qua Rum.")
    names = _names(question, page("x", *documents))
    assert names["Qua Rum"].covered == {1, 2, 3, 4}


def test_the_order_of_words_is_counted():
    names = _names("Who is the teacher of Ann Lee?", page("x", "Ann Lee is the teacher of Bo Ray."))
    assert (names["Bo Ray"].facts, names["Bo Ray"].facts_after) == (1, 1)
    assert (names["Ann Lee"].facts, names["Ann Lee"].facts_after) == (1, 0)


def test_the_title_of_a_document_is_the_topic_of_its_sentences():
    names = _names(CHAIN, page("x", "Ann Lee. Her birthplace was Tal Vey."))
    assert names["Tal Vey"].covered == {BIRTHPLACE, ANN}


def test_documents_that_agree_are_counted():
    first = page("x", "Bo Ray met Bo Ray.", "The mayor met Bo Ray.", "Nobody.")
    name = _names(CHAIN, first + page("x", "Bo Ray left."))["Bo Ray"]
    assert (name.documents, name.page) == (3, 1)
    assert name.overlap == 0.25  # "mayor", of "mayor", "birthplace", "ann", "lee"
