"""What an agent has read so far, as notes on names: where each came from in the question's terms.

A sentence that holds a phrase of the question and, right after it, a name links that name (the
owner) to the others in it (the values): "The mayor of X is Y." links X to Y by "mayor". A linked
name takes the phrase's place in the question, so that in "the teacher of the mayor of X" what is
read of X's mayor stands where "mayor" stands, and "teacher" is what is asked of it next.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from agents.sb3.asked import Asked, names_in, read_question

_SEARCH = re.compile(
    r"<search>((?:(?!</?search>).)*)</search>\n\n<information>\n(.*?)\n</information>\n", re.DOTALL
)
_DOCUMENT = re.compile(r"^Doc \d+: ", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"\w[\w'-]*")
# Words that may stand between a phrase and its owner, as in "capital and largest city of X".
_MAX_WORDS_BETWEEN = 4


@dataclass(frozen=True, slots=True)
class Link:
    """A sentence says that `value` is the phrase number `phrase` of `owner`."""

    phrase: int
    owner: str
    value: str


@dataclass(slots=True)
class Note:
    """What is known of a name.

    Attributes:
        name: as it stands in the texts.
        item: number of its item in the question; None where it does not stand there.
        place: number of the item in whose place it stands; None for a name that no chain of links
            joins to the question.
        strain: phrases skipped on the way from the question's names to it, and links read against
            the sense in which the question has them.
        as_value: whether the last link there gave it as the value.
        roots: names of the question that links without strain join it to.
        documents: that hold it.
        pages: numbers of the searches that brought one.
        overlap: largest share in [0, 1] of the question's content words in a sentence with it.
        number: read of it by a link, such as a year.
    """

    name: str
    item: int | None = None
    place: int | None = None
    strain: int = 0
    as_value: bool = False
    roots: set[str] = field(default_factory=set)
    documents: int = 0
    pages: set[int] = field(default_factory=set)
    overlap: float = 0.0
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Notes:
    """A question and all that was read for it.

    Attributes:
        asked: the question.
        queries: how often each text was searched for.
        num_pages: searches answered.
        num_documents: documents read.
        names: a note on each name, the question's first, then as they were read.
        links: how often each was read.
        pages_with_links: numbers of the searches whose pages hold a link.
    """

    asked: Asked
    queries: Counter[str]
    num_pages: int
    num_documents: int
    names: dict[str, Note]
    links: Counter[Link]
    pages_with_links: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Document:
    """What a document holds for a question.

    Attributes:
        names: largest share of the question's content words in a sentence with it, by name.
        links: as its sentences say them.
    """

    names: Mapping[str, float]
    links: tuple[Link, ...]


def take_notes(question: str, transcript: str) -> Notes:
    """Read an observation's question and transcript."""
    asked = read_question(question)
    names = {
        name: Note(name, item=place, place=place, roots={name})
        for name, place in asked.names.items()
    }
    links, queries, linked = Counter[Link](), Counter[str](), set[int]()
    num_documents = 0
    for page, (query, body) in enumerate(_SEARCH.findall(transcript)):
        queries[query] += 1
        for text in _DOCUMENT.split(body)[1:]:
            document = _read_document(question, text.strip())
            num_documents += 1
            _take_down(document, page, names)
            links.update(document.links)
            if document.links:
                linked.add(page)
    _place(asked, names, links)
    return Notes(
        asked=asked,
        queries=queries,
        num_pages=queries.total(),
        num_documents=num_documents,
        names=names,
        links=links,
        pages_with_links=frozenset(linked),
    )


def _take_down(document: _Document, page: int, names: dict[str, Note]) -> None:
    for name, share in document.names.items():
        note = names.setdefault(name, Note(name))
        note.overlap = max(note.overlap, share)
        note.pages.add(page)
        note.documents += 1


# A transcript is read anew at every turn, its documents once.
@lru_cache(maxsize=16384)
def _read_document(question: str, document: str) -> _Document:
    asked = read_question(question)
    content = {word for words in asked.phrases.values() for word in words}
    names: dict[str, float] = {}
    links: list[Link] = []
    for sentence in _SENTENCE_END.split(document):
        ends = {match[0]: match.end() for match in _WORD.finditer(sentence.lower())}
        share = len(content & ends.keys()) / max(len(content), 1)
        found = list(names_in(sentence))
        for name, _ in found:
            names[name] = max(share, names.get(name, 0.0))
        links += _links(asked, sentence, found, ends)
    return _Document(names, tuple(links))


def _links(
    asked: Asked, sentence: str, names: Sequence[tuple[str, int]], ends: Mapping[str, int]
) -> Iterator[Link]:
    """Yield what a sentence says, given its names, where they start, and where its words end."""
    for place, words in asked.phrases.items():
        held = [word for word in words if word in ends]
        if 2 * len(held) <= len(words):
            continue
        end = max(ends[word] for word in held)
        owner, start = next((found for found in names if found[1] >= end), (None, 0))
        if owner is None or len(_WORD.findall(sentence[end:start])) > _MAX_WORDS_BETWEEN:
            continue
        for value, _ in names:
            if value != owner:
                yield Link(place, owner, value)


def _place(asked: Asked, names: dict[str, Note], links: Counter[Link]) -> None:
    """Follow the links from the question's names, as far as they go."""
    for link in links:
        if link.value.isdigit():
            names[link.owner].number = int(link.value)
    for _ in asked.items:
        for link in links:
            _follow(asked, names[link.owner], names[link.value], link.phrase, as_value=True)
            _follow(asked, names[link.value], names[link.owner], link.phrase, as_value=False)


def _follow(asked: Asked, known: Note, new: Note, phrase: int, *, as_value: bool) -> None:
    if known.place is None or phrase >= known.place or new.item is not None:
        return
    # "the mayor of X" asks for a value, "the author X" for an owner; other joints do not tell.
    joint = asked.items[phrase].joint
    against = joint == "of" if not as_value else joint == ""
    strain = known.strain + known.place - phrase - 1 + against
    if not strain:
        new.roots |= known.roots
    if new.place is None or (strain, phrase) < (new.strain, new.place):
        new.strain, new.place, new.as_value = strain, phrase, as_value
