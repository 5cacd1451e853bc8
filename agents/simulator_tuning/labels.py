"""Labels documents of real pages as useful or noisy, by three judges, and their agreement.

- containment: a document is useful if it contains a gold answer as whole words.
- outcome: all documents of an episode are useful if the episode's answer was correct (first version
  of arXiv:2505.04588).
- model: a document is useful if a language model says so (later version).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from zs_env.metrics import contains_answer
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.questions.rows import read_rows
from zs_env.simulator.generators.base import (
    Completion,
    Output,
    Prompt,
    PromptRejected,
    TextGenerator,
    generate_checked,
)
from zs_env.text.hashing import derive_seed
from zs_env.text.thinking import split_thinking
from zs_env.transcripts.transcript import Transcript

JUDGES = ("containment", "outcome", "model")
_MIN_F1 = 0.8  # of a correct answer

JUDGE_PROMPT = (
    "A search engine returned this document for the query below.\n"
    "Query: {query}\n"
    "Document: {document}\n"
    "The question behind the query: {question}\n"
    "Its answer: {answers}\n"
    "Does the document help to find this answer? Reply with yes or no only.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledPage:
    """A page of a real engine with labels of its documents.

    `question` is the question behind the query, and `source` its data set. `documents` are pairs of
    title and text, best first. `labels` has for each judge whether each document is useful.
    """

    question_id: str
    source: str
    question: str
    answers: tuple[str, ...]
    query: str
    documents: tuple[tuple[str, str], ...]
    labels: dict[str, tuple[bool, ...]]


def read_labeled_pages(path: Path) -> Iterator[LabeledPage]:
    """Read a JSONL file of labeled pages.

    Raises:
        ValueError: if a line is not a labeled page; the message names file and line.
    """
    for location, row in read_rows(path):
        try:
            yield LabeledPage(
                **{
                    **row,
                    "answers": tuple(row["answers"]),
                    "documents": tuple((title, text) for title, text in row["documents"]),
                    "labels": {name: tuple(flags) for name, flags in row["labels"].items()},
                }
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{location}: expected a labeled page: {error}; run the stage 'judge' again"
            ) from None


def label_transcripts(
    transcripts: Iterable[Transcript], generator: TextGenerator | None = None
) -> Iterator[LabeledPage]:
    """Label the pages of all episodes without a failure.

    Yes/no questions and comparisons are left out: that a document names the answer to one of these
    does not show that it is useful.
    `generator` is the model of the judge "model"; None omits this judge.

    Raises:
        ConnectionError: if the model fails, except for a rejected prompt.
    """
    for transcript in transcripts:
        question = transcript.question
        if transcript.failure is not None or not hidden_answers(question.text, question.answers):
            continue
        correct = transcript.scores()["f1"] >= _MIN_F1
        for turn in transcript.turns:
            if turn.request is None or not turn.is_search or not turn.documents:
                continue
            documents = tuple((document.title, document.text) for document in turn.documents)
            contained = tuple(
                contains_answer(f"{title} {text}", question.answers) for title, text in documents
            )
            page = LabeledPage(
                question_id=question.id,
                source=question.source,
                question=question.text,
                answers=question.answers,
                query=turn.request.query,
                documents=documents,
                labels={"containment": contained, "outcome": (correct,) * len(documents)},
            )
            yield page if generator is None else _with_model_labels(page, generator)


def agreement(pages: Sequence[LabeledPage]) -> dict[str, dict[str, float]]:
    """Return for each pair of judges the share of equal labels and Cohen's kappa.

    Source: Cohen, "A coefficient of agreement for nominal scales", 1960.
    """
    judges = [name for name in JUDGES if all(name in page.labels for page in pages)]
    result = {}
    for one, other in combinations(judges, 2):
        pairs = [
            pair
            for page in pages
            for pair in zip(page.labels[one], page.labels[other], strict=True)
        ]
        if not pairs:
            continue
        same = sum(a == b for a, b in pairs) / len(pairs)
        yes = [sum(pair[judge] for pair in pairs) / len(pairs) for judge in (0, 1)]
        by_chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
        kappa = 1.0 if by_chance == 1.0 else (same - by_chance) / (1 - by_chance)
        result[f"{one} and {other}"] = {"agreement": same, "kappa": kappa, "documents": len(pairs)}
    return result


def _with_model_labels(page: LabeledPage, generator: TextGenerator) -> LabeledPage:
    texts = [
        JUDGE_PROMPT.format(
            query=page.query,
            document=f"{title}. {text}" if title else text,
            question=page.question,
            answers=" / ".join(page.answers),
        )
        for title, text in page.documents
    ]
    prompts = [Prompt(text, None, derive_seed(text)) for text in texts]
    outputs = generate_checked(generator, prompts)
    return replace(page, labels={**page.labels, "model": tuple(map(_says_yes, outputs))})


def _says_yes(output: Output) -> bool:
    """Whether the judge's reply starts with "yes"; False for a rejected prompt."""
    if isinstance(output, PromptRejected):
        return False
    if not isinstance(output, Completion):
        raise ConnectionError(
            f"the judge gave no reply: {output}; check that it runs, then run the same command "
            "again to resume"
        )
    _, reply = split_thinking(output.text)
    return re.match(r"\W*yes\b", reply, re.IGNORECASE) is not None
