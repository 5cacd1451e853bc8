"""What the documents of an episode say about each name, in terms of the question.

Only the words that texts share are used: no grammar, and no knowledge of any relation. A sentence
with a key phrase of the question and a known name connects its other names to the question. The
parts of the question on the way are `covered` by such a name: after "The birthplace of X is Y.", Y
covers "Who is the mayor of the birthplace of X?" except for "mayor", the phrase to search for next.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from zs_env.text.words import STOPWORDS, content_words

_WORD = re.compile(r"[0-9][0-9,.]*[0-9]|\w+(?:-\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_DOCUMENT = re.compile(r"^Doc \d+: ", re.MULTILINE)
_SEARCH = re.compile(
    r"<search>((?:(?!</?search>).)*)</search>\n\n<information>\n(.*?)\n</information>\n", re.DOTALL
)


class Span(NamedTuple):
    """A name or number (`is_name`) or a key phrase, and the offset of its first character."""

    text: str
    is_name: bool
    start: int


class Fact(NamedTuple):
    """A sentence with a phrase of the question: its names, and the name after the phrase, or ""."""

    phrase: int
    names: tuple[str, ...]
    next_name: str


@dataclass(slots=True)
class Name:
    """A name or number of the question or of a document."""

    text: str
    in_question: bool = False
    covered: frozenset[int] = frozenset()  # parts of the question that connect it to the question
    documents: int = 0  # documents that contain it
    page: int = -1  # number of the newest page that contains it
    facts: int = 0  # facts with it
    facts_after: int = 0  # facts in which it is the name after the phrase
    overlap: float = 0.0  # largest share in [0, 1] of the question's words in a sentence with it


class Evidence(NamedTuple):
    """The parts of a question, the names of question and documents, and counts of the queries."""

    parts: tuple[Span, ...]
    names: Mapping[str, Name]
    queries: Counter[str]


@lru_cache(maxsize=4096)
def find_spans(text: str) -> tuple[Span, ...]:
    """Return names (runs of capitalized words and numbers) and key phrases in order.

    A key phrase is a run of other words between function words, names and punctuation; see RAKE
    (Rose et al., 2010, "Automatic Keyword Extraction from Individual Documents").
    """
    spans: list[Span] = []
    end = 0
    for word in _WORD.finditer(text):
        if word[0].lower() not in STOPWORDS:
            is_name, start = word[0][0].isupper() or word[0][0].isdigit(), word.start()
            if spans and spans[-1].is_name == is_name and text[end:start] in (" ", "'"):
                start = spans.pop().start
            end = word.end()
            spans.append(Span(text[start:end], is_name, start))
    return tuple(spans)


def read_evidence(question: str, transcript: str) -> Evidence:
    """Read an observation's question and transcript."""
    parts = find_spans(question)
    names = {p.text: Name(p.text, True, frozenset([n])) for n, p in enumerate(parts) if p.is_name}
    queries, facts = Counter[str](), dict[Fact, None]()
    for page, (query, body) in enumerate(_SEARCH.findall(transcript)):
        queries[query] += 1
        for document in _DOCUMENT.split(body)[1:]:
            found, new_facts = _read_document(question, document.strip())
            facts.update(dict.fromkeys(new_facts))
            for text, overlap in found.items():
                name = names.setdefault(text, Name(text))
                name.documents, name.page = name.documents + 1, page
                name.overlap = max(name.overlap, overlap)
    for fact in facts:
        for text in fact.names:
            names[text].facts += 1
            names[text].facts_after += text == fact.next_name
    for _ in parts:
        for fact in facts:
            _connect(fact.phrase, [names[text] for text in fact.names])
    return Evidence(parts, names, queries)


# A transcript is read again at every turn, each of its documents once.
@lru_cache(maxsize=4096)
def _read_document(question: str, document: str) -> tuple[Mapping[str, float], Sequence[Fact]]:
    """Return the names of a document, each with its overlap, and its facts."""
    asked = set(content_words(question))
    found: dict[str, float] = {}
    facts: list[Fact] = []
    for sentence in _SENTENCE_END.split(document):
        words = set(content_words(sentence))
        names = [span for span in find_spans(sentence) if span.is_name]
        for name in names:
            overlap = len(words & asked) / max(len(asked), 1)
            found[name.text] = max(overlap, found.get(name.text, 0.0))
        # The first name of a document, often its title, is the topic of all its sentences.
        texts = tuple(dict.fromkeys([*list(found)[:1], *(name.text for name in names)]))
        for number, part in enumerate(find_spans(question)):
            shared = words.intersection(part.text.lower().split())
            if not part.is_name and 2 * len(shared) > len(part.text.split()):
                end = max(sentence.lower().rfind(word) for word in shared)
                next_name = next((name.text for name in names if name.start > end), "")
                facts.append(Fact(number, texts, next_name))
    return found, facts


def _connect(phrase: int, names: list[Name]) -> None:
    """Let each name of a fact cover its phrase and what the other names cover."""
    known = [name for name in names if name.covered and phrase not in name.covered]
    for name in names:
        others = [other.covered for other in known if other is not name]
        if others and not name.in_question:
            name.covered = name.covered.union({phrase}, *others)
