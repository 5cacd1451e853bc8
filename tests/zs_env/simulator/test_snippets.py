import pytest

from zs_env.simulator.snippets import snippet

TEXT = "one two three four five six seven eight nine ten"


def test_a_short_document_stays_whole():
    assert snippet("Title", TEXT, query="x", num_words=30) == f"Title: {TEXT}"
    assert snippet("", TEXT, query="x", num_words=30) == TEXT


def test_the_window_with_most_of_the_query_is_taken_and_of_equals_the_first():
    assert snippet("", TEXT, query="seven nine", num_words=3) == "seven eight nine"
    assert snippet("", TEXT, query="nothing here", num_words=3) == "one two three"


def test_the_answer_stays_in_sight():
    cut = snippet("", TEXT, query="one two", num_words=3, answers=("Nine ten",))
    assert cut == "eight nine ten"


def test_the_answer_comes_in_the_first_third_where_the_text_goes_on_for_long_enough():
    cut = snippet("", TEXT, query="one two", num_words=6, answers=("Four",))
    assert cut == "three four five six seven eight"
    late = snippet("", TEXT, query="one two", num_words=6, answers=("Nine",))
    assert late == "five six seven eight nine ten"


def test_an_answer_in_the_title_is_in_sight_already():
    cut = snippet("Nine", TEXT, query="one two", num_words=4, answers=("nine",))
    assert cut == "Nine: one two three"


def test_an_answer_that_is_not_there_moves_nothing():
    assert snippet("", TEXT, query="two", num_words=2, answers=("zero",)) == "one two"


@pytest.mark.parametrize("num_words", [1, 2, 5, 9])
def test_it_is_never_longer_than_asked(num_words):
    cut = snippet("A rather long title of many words", TEXT, query="ten", num_words=num_words)
    assert len(cut.split()) <= num_words


def test_a_document_without_words():
    assert snippet("", "", query="x", num_words=5) == ""
