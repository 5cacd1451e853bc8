"""Which documents of real pages are useful: by three judges, and how far they agree.

- containment: a document is useful if a gold answer stands in it as whole words.
- outcome: all documents of an episode are useful if the episode's answer was right (the first
  version of arXiv:2505.04588).
- model: a document is useful if a language model says that it answers the query (the later one).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from agents.prompted.free_text import without_thinking
from zs_env.metrics import contains_answer
from zs_env.questions.question import is_yes_no
from zs_env.questions.rows import read_rows
from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    Prompt,
    PromptRejected,
    TextGenerator,
)
from zs_env.text.hashing import derive_seed
from zs_env.transcripts.transcript import Transcript

JUDGES = ("containment", "outcome", "model")
_RIGHT = 0.8  # F1 from which an answer counts as right

JUDGE_PROMPT = (
    "A search engine returned this document for the query below.\n"
    "Query: {query}\n"
    "Document: {document}\n"
    "The question behind the query: {question}\n"
    "Its answer: {answers}\n"
    "Does the document help to find that answer? Say yes or no and nothing else.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPage:
    """A page of a real engine with every judge's word on its documents.

    Attributes:
        question_id: of the question behind the query.
        source: its set.
        question: its text.
        answers: its gold answers.
        query: what was asked.
        documents: titles and texts, best first.
        useful: verdicts on the documents, by judge.
    """

    question_id: str
    source: str
    question: str
    answers: tuple[str, ...]
    query: str
    documents: tuple[tuple[str, str], ...]
    useful: dict[str, tuple[bool, ...]]


def read_judged(path: Path) -> Iterator[JudgedPage]:
    """Read a JSONL file of judged pages.

    Raises:
        ValueError: if a line is no judged page, naming file and line.
    """
    for place, row in read_rows(path):
        try:
            yield JudgedPage(
                **{
                    **row,
                    "answers": tuple(row["answers"]),
                    "documents": tuple((title, text) for title, text in row["documents"]),
                    "useful": {name: tuple(words) for name, words in row["useful"].items()},
                }
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{place}: expected a judged page: {error}; judge again") from None


def judge_transcripts(
    transcripts: Iterable[Transcript], generator: TextGenerator | None = None
) -> Iterator[JudgedPage]:
    """Judge every page of episodes that ended without a failure; yes/no questions are left out.

    Args:
        transcripts: of any agent with a real engine.
        generator: the model that judges; None leaves that judge out.

    Raises:
        ConnectionError: if the model says nothing for a reason that is not the prompt's.
    """
    for transcript in transcripts:
        question = transcript.question
        if transcript.failure is not None or is_yes_no(question.answers):
            continue
        right = transcript.scores()["f1"] >= _RIGHT
        for turn in transcript.turns:
            if turn.request is None or not turn.documents:
                continue
            documents = tuple((document.title, document.text) for document in turn.documents)
            holds = tuple(
                contains_answer(f"{title} {text}", question.answers) for title, text in documents
            )
            page = JudgedPage(
                question_id=question.id,
                source=question.source,
                question=question.text,
                answers=question.answers,
                query=turn.request.query,
                documents=documents,
                useful={"containment": holds, "outcome": (right,) * len(documents)},
            )
            yield page if generator is None else _asked(page, generator)


def agreement(pages: Sequence[JudgedPage]) -> dict[str, dict[str, float]]:
    """How far each pair of judges agrees: share of equal verdicts, and Cohen's kappa.

    Source: Cohen, "A coefficient of agreement for nominal scales", 1960.
    """
    judges = [name for name in JUDGES if all(name in page.useful for page in pages)]
    result = {}
    for one, other in combinations(judges, 2):
        pairs = [
            pair
            for page in pages
            for pair in zip(page.useful[one], page.useful[other], strict=True)
        ]
        if not pairs:
            continue
        same = sum(a == b for a, b in pairs) / len(pairs)
        yes = [sum(pair[place] for pair in pairs) / len(pairs) for place in (0, 1)]
        by_chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
        kappa = 1.0 if by_chance == 1.0 else (same - by_chance) / (1 - by_chance)
        result[f"{one} and {other}"] = {"agreement": same, "kappa": kappa, "documents": len(pairs)}
    return result


def _asked(page: JudgedPage, generator: TextGenerator) -> JudgedPage:
    written = generator.generate([_prompt(page, title, text) for title, text in page.documents])
    return replace(page, useful={**page.useful, "model": tuple(map(_says_yes, written))})


def _prompt(page: JudgedPage, title: str, text: str) -> Prompt:
    words = JUDGE_PROMPT.format_map(
        {
            "query": page.query,
            "document": f"{title}. {text}" if title else text,
            "question": page.question,
            "answers": " / ".join(page.answers),
        }
    )
    return Prompt(words, None, derive_seed(words))


def _says_yes(completion: Completion | GenerationError) -> bool:
    """A judge that says something else, or for which a document is too long, has not said yes."""
    if isinstance(completion, PromptRejected):
        return False
    if isinstance(completion, GenerationError):
        raise ConnectionError(
            f"the judge said nothing: {completion}; see that it runs, then give the same command "
            "again, which goes on where this one stopped"
        )
    _, said = without_thinking(completion.text)
    return re.match(r"\W*yes\b", said, re.IGNORECASE) is not None
