"""Names and numbers of a document are counted as the docstring says; rates worked out by hand."""

import pytest

from zs_env.simulator.support import support_rate

SOURCE = (
    "Shirley Temple Black (April 23, 1928 - February 10, 2014) was an American actress. She was "
    "U.S. ambassador to Ghana, and J. R. R. Tolkien taught at the University of Oslo with "
    "Zoë Röntgen, who earned 1,250 crowns at 10:30."
)


@pytest.mark.parametrize(
    ("document", "rate"),
    [
        ("nothing to see here", None),
        ("Nothing to see here. It was late.", None),
        ("She was an actress in Ghana.", 1.0),
        ("She was an actress in Ghana and Peru.", 1 / 2),
        ("She was born on April 23, 1928.", 1.0),
        ("She was born on April 24, 1928.", 2 / 3),
        ("She earned 1250 crowns at 10:30.", 1.0),
        ("She earned 125 crowns.", 0.0),
        ("She met Shirley Black.", 0.0),
        ("She met Temple Black.", 1.0),
        ("She met zoe Roentgen and Rontgen.", 1 / 2),
        ("She met SHIRLEY TEMPLE.", 1.0),
        ("He saw J. R. R. Tolkien at the University of Oslo.", 1.0),
        ("He saw the University of Rome.", 0.0),
        ("He met The Shirley Temple.", 1.0),
    ],
)
def test_the_rate_is_the_share_of_names_and_numbers_in_the_source(document, rate):
    assert support_rate(document, [SOURCE]) == rate


def test_a_repeated_name_counts_once():
    assert support_rate("In Peru, near Peru, as in Peru and Ghana.", [SOURCE]) == 1 / 2


def test_the_first_word_of_a_sentence_may_owe_its_capital_to_its_position():
    assert support_rate("Obama was in Ghana.", [SOURCE]) == 1.0
    assert support_rate("It rained. Obama was in Ghana.", [SOURCE]) == 1.0
    assert support_rate("It rained on Obama in Ghana.", [SOURCE]) == 1 / 2
    assert support_rate("Actress Shirley Temple was here.", [SOURCE]) == 1.0
    assert support_rate("Barack Obama was here.", [SOURCE]) == 0.0


def test_a_name_must_occur_in_one_source():
    assert support_rate("He met Ada Byron.", ["Ada", "Byron"]) == 0.0
    assert support_rate("He met Ada and Byron.", ["Ada", "Byron"]) == 1.0
    assert support_rate("He met Ada and Byron.", []) == 0.0


@pytest.mark.parametrize(
    ("document", "source", "rate"),
    [
        ("巴黎", "法国的首都是巴黎。", 1.0),
        ("巴黎2024", "法国的首都是巴黎。", 1 / 2),
        ("柏林", "法国的首都是巴黎。", 0.0),
        ("كتاب", "كتاب", 1.0),
        ("서울", "서울은 수도이다", 1.0),
    ],
)
def test_scripts_without_capitals_count_pairs_of_characters(document, source, rate):
    assert support_rate(document, [source]) == rate
