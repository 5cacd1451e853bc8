"""Two questions whose useful and noisy pages are known word by word."""

import json

import pytest

QUESTIONS = [
    {
        "id": "tower",
        "question": "Who built the tower?",
        "answers": ["Ann Lee"],
        "paragraphs": [
            {"title": "Tower", "text": "Ann Lee built the tower.", "is_gold": True},
            {"title": "Sea", "text": "Salt water is wet.", "is_gold": False},
        ],
    },
    {
        "id": "ship",
        "question": "Who sank the ship?",
        "answers": ["Bob"],
        "paragraphs": [
            {"title": "Ship", "text": "Bob sank it.", "is_gold": True},
            {"title": "Tree", "text": "A tree grows.", "is_gold": False},
        ],
    },
]


@pytest.fixture
def quoted_world(tmp_path):
    """Arguments of an environment that shows one document a page.

    An agent that quotes it scores: "tower ann lee built tower", 2 of 5 words and both of the
    answer's: 2 * 0.4 / 1.4 = 4/7; "ship bob sank it", 1 of 4 and the only one: 2 * 0.25 / 1.25 =
    0.4; and 0 for either noisy page.
    """
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(question)}\n" for question in QUESTIONS))
    return {
        "questions": {"kind": "file", "path": str(path)},
        "engine": {"kind": "paragraphs"},
        "num_documents": 1,
    }
