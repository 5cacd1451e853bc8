"""Content words as a lexical engine compares them."""

from zs_env.text.words import content_words


def test_function_words_case_and_punctuation_fall_away():
    assert content_words("What is the name of King Lear's 2nd daughter?") == [
        "name",
        "king",
        "lear",
        "2nd",
        "daughter",
    ]


def test_accents_do_not_part_a_word_from_its_plain_spelling():
    assert content_words("RÖNTGEN") == content_words("rontgen") == ["rontgen"]


def test_junk_has_no_content_words():
    assert content_words(" ?! ... the of ") == []
