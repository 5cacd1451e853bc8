"""From judged pages to what a simulator is tuned on: a prompt, and the page that should follow.

Every pair is of one kind. A useful page is a real page with every document that a judge found
useful, filled up with others; a noisy page is made of those that it did not, and that hold no gold
answer. The prompt of a useful page names first the answers that the page gives, so that what is
learnt is to give them, not to guess which of thirty aliases is meant. Kinds are balanced, equal
prompts are used once, questions of evaluation sets are left out, and the held-out questions are
chosen by a hash, so that they stay the same as data grow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agents.simulator_tuning.judge import JudgedPage
from agents.simulator_tuning.snippet import snippet
from zs_env.metrics import contains_answer, normalize_answer
from zs_env.questions.rows import read_rows, write_rows
from zs_env.search.types import SearchRequest
from zs_env.simulator.page_parsing import join_documents, split_documents
from zs_env.simulator.prompts import SimulatorPrompts
from zs_env.text.hashing import stable_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt and the page that should follow.

    Attributes:
        prompt: as the prompts writes it.
        completion: the page, in the form that `split_documents` takes apart.
        kind: "useful" or "noisy".
        query: of the page.
        question: behind the query.
        answers: its gold answers.
        question_id: its id.
        source: its set.
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
    pages: Iterable[JudgedPage],
    prompts: SimulatorPrompts,
    *,
    judge: str = "containment",
    num_documents: int = 5,
    min_useful: int = 1,
    excluded: Iterable[str] = (),
) -> list[Pair]:
    """Make pairs of pages: as many useful as noisy ones, see `balance`.

    Args:
        pages: judged; they need more documents than a page of the pairs has.
        prompts: whose prompts they are.
        judge: whose verdicts count.
        num_documents: of every page; where there are not as many, there is no pair.
        min_useful: of them, at least, in a useful page.
        excluded: questions, in their own words, that no pair may come from.

    Raises:
        ValueError: if a page lacks that judge's verdicts.
    """
    pairs = []
    for page in pages:
        if judge not in page.useful:
            raise ValueError(
                f"the pages were judged by {sorted(page.useful)}, not by {judge!r}; judge them "
                "again with that judge"
            )
        if sum(page.useful[judge]) >= min_useful:
            pairs.append(_pair(page, prompts, judge, num_documents, useful=True))
        pairs.append(_pair(page, prompts, judge, num_documents, useful=False))
    return balance([pair for pair in pairs if pair is not None], excluded=excluded)


def balance(pairs: Iterable[Pair], *, excluded: Iterable[str] = ()) -> list[Pair]:
    """Keep as many useful as noisy pairs, each prompt once, in an order that a hash decides.

    Args:
        pairs: of both kinds.
        excluded: questions, in their own words, that no pair may come from.
    """
    left_out = {normalize_answer(text) for text in excluded}
    by_kind: dict[str, dict[str, Pair]] = {"useful": {}, "noisy": {}}
    for pair in pairs:
        if normalize_answer(pair.question) not in left_out:
            by_kind[pair.kind].setdefault(pair.prompt, pair)
    ordered = {
        kind: sorted(pairs.values(), key=lambda pair: stable_hash(pair.prompt))
        for kind, pairs in by_kind.items()
    }
    count = min(map(len, ordered.values()))
    balanced = [pair for pairs in ordered.values() for pair in pairs[:count]]
    return sorted(balanced, key=lambda pair: stable_hash(pair.prompt))


def with_prompt(pair: Pair, prompts: SimulatorPrompts) -> Pair:
    """Return a pair of another origin with the prompt that an engine of a prompts will ask with."""
    count = len(split_documents(pair.completion))
    useful = pair.kind == "useful"
    question = pair.question if pair.answers else None
    request = SearchRequest(pair.query, question, pair.answers, (useful,) * count, 0)
    return replace(pair, prompt=prompts.render(request, useful=useful, num_documents=count))


def is_held_out(pair: Pair, share: float) -> bool:
    """Whether a pair's question belongs to those that a share in [0, 1] keeps from training."""
    return stable_hash(normalize_answer(pair.question)) < share * 2**64


def write_dataset(
    folder: Path, pairs: Sequence[Pair], *, held_out: float, made_of: dict[str, Any]
) -> dict[str, Any]:
    """Write train.jsonl, held_out.jsonl, the same as a `datasets` folder, and the card README.md.

    Args:
        folder: made where it is missing.
        pairs: all of them.
        held_out: share of the questions, in [0, 1].
        made_of: for the card: engine, agent, sources, licences.

    Returns:
        Counts, as the card has them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[Pair]] = {"train": [], "held_out": []}
    for pair in pairs:
        splits["held_out" if is_held_out(pair, held_out) else "train"].append(pair)
    for name, part in splits.items():
        write_rows(folder / f"{name}.jsonl", part)
    _save_for_datasets(folder / "dataset", splits)
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
        ValueError: if a line is no pair, naming file and line.
    """
    pairs = []
    for place, row in read_rows(path):
        try:
            pairs.append(Pair(**{**row, "answers": tuple(row["answers"])}))
        except (TypeError, KeyError) as error:
            raise ValueError(
                f"{place}: expected a pair with the fields {[*Pair.__slots__]}: {error}"
            ) from None
    return pairs


def _pair(
    page: JudgedPage, prompts: SimulatorPrompts, judge: str, num_documents: int, *, useful: bool
) -> Pair | None:
    verdicts = page.useful[judge]
    chosen = [rank for rank, verdict in enumerate(verdicts) if verdict][:num_documents]
    if useful and not chosen:
        return None
    silent = [
        rank
        for rank, (title, text) in enumerate(page.documents)
        if not verdicts[rank] and not contains_answer(f"{title} {text}", page.answers)
    ]
    # What answers comes first: a small model then learns to say the answer at once, and does not
    # have to guess which of the documents are to hold it.
    ranks = [*(chosen if useful else []), *silent][:num_documents]
    if len(ranks) < num_documents:
        return None
    documents = [
        snippet(
            *page.documents[rank],
            query=page.query,
            num_words=prompts.num_words,
            answers=page.answers if rank in chosen else (),
        )
        for rank in ranks
    ]
    text = " ".join(documents)
    given_first = sorted(page.answers, key=lambda answer: not contains_answer(text, [answer]))
    request = SearchRequest(
        page.query, page.question, tuple(given_first), (useful,) * num_documents, 0
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


def _save_for_datasets(folder: Path, splits: dict[str, list[Pair]]) -> None:
    try:
        from datasets import Dataset, DatasetDict
    except ImportError as error:
        raise ImportError(
            'the data set is written by datasets; pip install "zerosearch-gym[data]"'
        ) from error
    rows: Any = {
        name: Dataset.from_list([{**asdict(pair), "answers": list(pair.answers)} for pair in part])
        for name, part in splits.items()
        if part
    }
    DatasetDict(rows).save_to_disk(str(folder))


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
    lines += ["", "No question stands in both files.", ""]
    return "\n".join(lines)
