"""Builds the training data of a simulator: pairs of a prompt and a page.

A useful page has all documents with the label useful, filled up with others. A noisy page has
documents with the label noisy that contain no gold answer. The prompt of a useful page lists the
answers in the page first, so that the model learns to copy them and not to guess an alias. There
are as many useful as noisy pairs, and no two pairs have the same prompt. A hash selects the
held-out questions, so that they stay the same when data are added.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agents.simulator_tuning.labels import LabeledPage
from zs_env.metrics import contains_answer, normalize_answer
from zs_env.questions.rows import read_rows, write_rows
from zs_env.search.types import SearchRequest
from zs_env.simulator.page_parsing import join_documents, split_documents
from zs_env.simulator.prompts import SimulatorPrompts
from zs_env.simulator.snippets import snippet
from zs_env.text.hashing import stable_hash

_Shape = tuple[bool, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt, and as `completion` the page to generate, in the format of `join_documents`.

    `kind` is "useful" or "noisy", `source` the data set of the question behind the query, and
    `answers` are the question's gold answers.
    """

    prompt: str
    completion: str
    kind: str
    query: str
    question: str
    answers: tuple[str, ...]
    question_id: str
    source: str


def build_pairs(
    pages: Iterable[LabeledPage],
    prompts: SimulatorPrompts,
    *,
    judge: str = "containment",
    num_documents: int = 5,
    min_useful: int = 1,
    excluded: Iterable[str] = (),
) -> list[Pair]:
    """Build as many useful as noisy pairs, see `balance`.

    Args:
        pages: labeled pages; those with fewer than `num_documents` documents are skipped.
        prompts: prompts of the pairs.
        judge: whose labels are used.
        num_documents: documents of a pair's page.
        min_useful: minimum number of useful documents in a useful page.
        excluded: texts of questions that must not be used.

    Raises:
        ValueError: if a page has no labels of this judge.
    """
    pairs = []
    for page in pages:
        if judge not in page.labels:
            raise ValueError(
                f"the pages were judged by {sorted(page.labels)}, not by {judge!r}; run the stage "
                "'judge' again with that judge"
            )
        if sum(page.labels[judge]) >= min_useful:
            pairs.append(_pair(page, prompts, judge, num_documents, useful=True))
        pairs.append(_pair(page, prompts, judge, num_documents, useful=False))
    return balance([pair for pair in pairs if pair is not None], excluded=excluded)


def balance(pairs: Iterable[Pair], *, excluded: Iterable[str] = ()) -> list[Pair]:
    """Keep as many useful as noisy pairs, each prompt once, ordered by a hash.

    `excluded` are texts of questions that must not be used.
    """
    excluded = {normalize_answer(text) for text in excluded}
    by_kind: dict[str, dict[str, Pair]] = {"useful": {}, "noisy": {}}
    for pair in pairs:
        if normalize_answer(pair.question) not in excluded:
            by_kind[pair.kind].setdefault(pair.prompt, pair)
    ordered = {
        kind: sorted(pairs.values(), key=lambda pair: stable_hash(pair.prompt))
        for kind, pairs in by_kind.items()
    }
    count = min(map(len, ordered.values()))
    balanced = [pair for pairs in ordered.values() for pair in pairs[:count]]
    return sorted(balanced, key=lambda pair: stable_hash(pair.prompt))


def with_prompt(pair: Pair, prompts: SimulatorPrompts) -> Pair:
    """Return the pair with its prompt replaced by the one that an engine with `prompts` uses."""
    count = len(split_documents(pair.completion))
    useful = pair.kind == "useful"
    question = pair.question if pair.answers else None
    request = SearchRequest(pair.query, question, pair.answers, (useful,) * count, 0)
    return replace(pair, prompt=prompts.render(request, useful=useful, num_documents=count))


def is_held_out(pair: Pair, share: float) -> bool:
    """Whether a pair's question is among the `share` of questions, in [0, 1], that are held out."""
    return stable_hash(normalize_answer(pair.question)) < share * 2**64


def substitute_answers(
    pairs: Sequence[Pair], prompts: SimulatorPrompts, *, share: float
) -> list[Pair]:
    """Replace the answers of a `share` of the useful pairs, in both prompt and page.

    A small model that is tuned only on real pages learns to recall facts about a topic instead of
    copying the answer from its prompt. If prompt and page contain a wrong answer, only the prompt
    predicts it. Source: entity substitution, Longpre et al., arXiv:2109.05052.

    A pair is unchanged if its query or question contains the answer, or if an alias of the answer
    would remain in the page. A changed pair has only its new answer in `answers`. The order of the
    pairs is kept; a hash of the prompt selects the share, in [0, 1].
    """
    candidates: dict[_Shape, list[str]] = {}
    for pair in pairs:
        for answer in _stated_answers(pair)[:1]:
            candidates.setdefault(_shape(answer), []).append(answer)
    return [
        (_substituted(pair, candidates, prompts) or pair)
        if pair.kind == "useful" and stable_hash(f"exchange\0{pair.prompt}") < share * 2**64
        else pair
        for pair in pairs
    ]


def _substituted(
    pair: Pair, candidates: dict[_Shape, list[str]], prompts: SimulatorPrompts
) -> Pair | None:
    stated = _stated_answers(pair)
    if not stated or contains_answer(f"{pair.query} {pair.question}", pair.answers):
        return None
    same_shape = candidates[_shape(stated[0])]
    new = same_shape[stable_hash(f"donor\0{pair.prompt}") % len(same_shape)]
    if contains_answer(pair.completion, [new]):
        return None
    longest_first = "|".join(re.escape(one) for one in sorted(stated, key=len, reverse=True))
    old = re.compile(rf"(?<!\w)(?:{longest_first})(?!\w)", re.IGNORECASE)
    documents = [old.sub(lambda _: new, text) for text in split_documents(pair.completion)]
    page = " ".join(documents)
    if contains_answer(page, pair.answers) or not contains_answer(page, [new]):
        return None
    return with_prompt(replace(pair, completion=join_documents(documents), answers=(new,)), prompts)


def _stated_answers(pair: Pair) -> list[str]:
    """Return the gold answers that a useful page contains."""
    if pair.kind != "useful":
        return []
    return [answer for answer in pair.answers if contains_answer(pair.completion, [answer])]


def _shape(answer: str) -> _Shape:
    """Return whether an answer has a digit, and its number of words; equal shapes are exchanged."""
    return any(char.isdigit() for char in answer), min(len(answer.split()), 4)


def write_dataset(
    folder: Path, pairs: Sequence[Pair], *, held_out: float, made_of: dict[str, Any]
) -> dict[str, Any]:
    """Write train.jsonl, held_out.jsonl, a `datasets` folder with both, and the card README.md.

    `held_out` is the share of the held-out questions, in [0, 1], and `made_of` has lines of the
    card: engine, agent, sources, licences. Returns the counts in the card.
    """
    from datasets import Dataset, DatasetDict

    folder.mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[Pair]] = {"train": [], "held_out": []}
    for pair in pairs:
        splits["held_out" if is_held_out(pair, held_out) else "train"].append(pair)
    for name, part in splits.items():
        write_rows(folder / f"{name}.jsonl", part)
    rows: Any = {
        name: Dataset.from_list([{**asdict(pair), "answers": list(pair.answers)} for pair in part])
        for name, part in splits.items()
        if part
    }
    DatasetDict(rows).save_to_disk(str(folder / "dataset"))
    counts: dict[str, Any] = {
        name: {
            "pairs": len(part),
            "questions": len({pair.question for pair in part}),
            **Counter(pair.kind for pair in part),
        }
        for name, part in splits.items()
    }
    counts["sources"] = dict(Counter(pair.source or "unnamed" for pair in pairs))
    (folder / "README.md").write_text(_card(counts, made_of), encoding="utf-8")
    return counts


def read_pairs(path: Path) -> list[Pair]:
    """Read a JSONL file of pairs.

    Raises:
        ValueError: if a line is not a pair; the message names file and line.
    """
    pairs = []
    for location, row in read_rows(path):
        try:
            pairs.append(Pair(**{**row, "answers": tuple(row["answers"])}))
        except (TypeError, KeyError) as error:
            raise ValueError(
                f"{location}: expected a pair with the fields {[*Pair.__slots__]}: {error}"
            ) from None
    return pairs


def _pair(
    page: LabeledPage, prompts: SimulatorPrompts, judge: str, num_documents: int, *, useful: bool
) -> Pair | None:
    labels = page.labels[judge]
    useful_ranks = [rank for rank, label in enumerate(labels) if label][:num_documents]
    if useful and not useful_ranks:
        return None
    answer_free = [
        rank
        for rank, (title, text) in enumerate(page.documents)
        if not labels[rank] and not contains_answer(f"{title} {text}", page.answers)
    ]
    # Useful documents come first: a small model then learns to state the answer immediately and
    # need not guess which documents contain it.
    ranks = [*(useful_ranks if useful else []), *answer_free][:num_documents]
    if len(ranks) < num_documents:
        return None
    documents = [
        snippet(
            *page.documents[rank],
            query=page.query,
            num_words=prompts.num_words,
            answers=page.answers if rank in useful_ranks else (),
        )
        for rank in ranks
    ]
    text = " ".join(documents)
    stated_first = sorted(page.answers, key=lambda answer: not contains_answer(text, [answer]))
    request = SearchRequest(
        page.query, page.question, tuple(stated_first), (useful,) * num_documents, 0
    )
    return Pair(
        prompt=prompts.render(request, useful=useful, num_documents=num_documents),
        completion=join_documents(documents),
        kind="useful" if useful else "noisy",
        query=page.query,
        question=page.question,
        answers=page.answers,
        question_id=page.question_id,
        source=page.source,
    )


def _card(counts: dict[str, Any], made_of: dict[str, Any]) -> str:
    lines = ["# Query and page pairs for tuning a simulated search engine", ""]
    for name in ("train", "held_out"):
        part = counts[name]
        lines.append(
            f"- `{name}.jsonl`: {part['pairs']} pairs ({part.get('useful', 0)} useful, "
            f"{part.get('noisy', 0)} noisy) of {part['questions']} questions"
        )
    lines += ["", "Questions come from:", ""]
    lines += [f"- {source}: {count} pairs" for source, count in sorted(counts["sources"].items())]
    lines += ["", "Made of:", ""]
    lines += [f"- {name}: {value}" for name, value in made_of.items() if value]
    lines += ["", "No question is in both files.", ""]
    return "\n".join(lines)
