"""The sources of an answer."""

import json
from dataclasses import asdict

from agents.ask.reply import Reply
from zs_env import Document, Episode, Question, SearchPage

LUND = Document("The tower was built by Ann Lee.", "Lund")
MALMO = Document("Malmo is a port.", "Malmo")


def reply(*acts, pages=()):
    pages = iter(pages)
    episode = Episode(Question(id="7", text="Who built it?", answers=()))
    for text in acts:
        episode.act(text)
        if episode.pending:
            episode.receive(SearchPage(tuple(next(pages)), engine="shelf"))
    return Reply.of(episode.transcript())


def test_documents_with_the_answer_are_cited_once_at_their_first_place():
    found = reply(
        "<search>a</search>",
        "<search>b</search>",
        "<answer>ann lee</answer>",
        pages=[[MALMO, LUND], [LUND]],
    )
    assert (found.id, found.answer, found.reason, found.turns) == ("7", "ann lee", "answer", 3)
    assert found.queries == ("a", "b")
    (source,) = found.sources
    assert (source.search, source.rank, source.query, source.engine) == (1, 2, "a", "shelf")
    assert (source.title, source.contains_answer) == ("Lund", True)
    assert json.loads(json.dumps(asdict(found)))["sources"][0]["title"] == "Lund"


def test_without_a_supporting_document_all_documents_are_cited():
    for answer in ("Bo", "yes"):
        found = reply(
            "<search>a</search>",
            f"<answer>{answer}</answer>",
            pages=[[MALMO, Document("yes it is")]],
        )
        assert [(one.rank, one.contains_answer) for one in found.sources] == [
            (1, False),
            (2, False),
        ]


def test_repeated_documents_keep_their_first_place():
    pages = [[MALMO, LUND], [Document("Trees.", "Wood"), MALMO]]
    found = reply("<search>a</search>", "<search>b</search>", "<answer>x</answer>", pages=pages)
    places = [(one.title, one.search, one.rank) for one in found.sources]
    assert places == [("Malmo", 1, 1), ("Lund", 1, 2), ("Wood", 2, 1)]


def test_an_answer_without_a_search_has_no_source():
    assert reply("<answer>Ann</answer>").sources == ()
