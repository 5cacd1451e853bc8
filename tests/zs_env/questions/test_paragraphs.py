"""Paragraphs from the formats of different data sets."""

import pytest

from zs_env.questions.paragraphs import read_paragraphs
from zs_env.questions.question import Paragraph
from zs_env.questions.rows import RowLocation

PLACE = RowLocation("set", 3, "row")
EXPECTED = (
    Paragraph(title="A", text="One. Two.", is_gold=True),
    Paragraph(title="B", text="Three.", is_gold=False),
)
HOTPOT = {
    "context": {"title": ["A", "B"], "sentences": [["One.", " Two."], ["Three."]]},
    "supporting_facts": {"title": ["A", "A"], "sent_id": [0, 1]},
}


@pytest.mark.parametrize(
    "row",
    [
        {
            "paragraphs": [
                {"title": "A", "text": "One. Two.", "is_gold": True},
                {"title": "B", "text": "Three.", "is_gold": False},
            ]
        },
        {
            "paragraphs": [
                {"idx": 0, "title": "A", "paragraph_text": "One. Two.", "is_supporting": True},
                {"idx": 1, "title": "B", "paragraph_text": "Three.", "is_supporting": False},
            ]
        },
        HOTPOT,
        {"metadata": HOTPOT | {"type": "bridge"}},
        {"metadata": {
            "context": {"title": ["A", "B"], "content": [["One.", "Two."], ["Three."]]},
            "supporting_facts": HOTPOT["supporting_facts"],
        }},
    ],
    ids=["ours", "musique", "hotpotqa", "nested", "2wikimultihopqa"],
)  # fmt: skip
def test_every_format_gives_the_same_paragraphs(row):
    assert read_paragraphs(row, PLACE) == EXPECTED


@pytest.mark.parametrize("row", [{}, {"paragraphs": None}, {"metadata": {"type": "x"}}])
def test_a_row_without_paragraphs_has_none(row):
    assert read_paragraphs(row, PLACE) == ()


def test_titles_without_texts_are_an_error():
    context = {"title": ["A", "B"], "sentences": [["One."]]}
    with pytest.raises(ValueError, match=r"row 3, field 'context'.*as many texts as titles"):
        read_paragraphs({"context": context, "supporting_facts": {"title": []}}, PLACE)
