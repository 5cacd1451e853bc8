"""The tables of a benchmark in the layout of the paper, as Markdown; scores are percentages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from statistics import fmean
from typing import Any

from agents.evaluation.statistics import NUM_FLIPS, NUM_RESAMPLES, Interval
from agents.studies.benchmark.answerable import AnswerablePart
from agents.studies.benchmark.config import AVERAGE, PAPER_SETS
from agents.studies.benchmark.scores import Comparison, Score
from agents.studies.tables import markdown_table

# Title and definition of each score, in the order of the tables.
TABLES: dict[str, tuple[str, str]] = {
    "exact_match": ("Exact match", "The normalised answer equals a gold answer."),
    "f1": ("F1", "Token F1 with the nearest gold answer."),
    "cover_match": ("Cover match", "The answer contains a gold answer as whole words."),
    "substring_match": (
        "Substring match",
        "A gold answer is a substring of the answer, also inside a word, and one that normalises "
        'to nothing is in every answer: what the original reports as "EM".',
    ),
}


def load_published() -> Mapping[str, Any]:
    """Return the original's main table, without Llama and a few baselines.

    Returns:
        `source`: the publication; `metric`: our name of its metric; `caveat`: differences that
        limit the comparison; and `rows` in the order of the paper, each with `model`, `method`,
        `scores` in percent by question set, and `bamboogle_questions`: how many of Bamboogle's 125
        questions count.
    """
    return json.loads(
        files("agents.studies.benchmark").joinpath("published.json").read_text("utf-8")
    )


def document(
    about: str,
    scores: Sequence[Score],
    comparisons: Sequence[Comparison],
    part: AnswerablePart | None = None,
) -> str:
    """Return the whole document; `about` is a paragraph on what was played."""
    names, published = list(dict.fromkeys(score.set for score in scores)), load_published()
    parts = [
        f"# Benchmark\n\n{about}\n",
        "Every score is a percentage, with a 95 % interval: a bootstrap over questions, "
        f"{NUM_RESAMPLES:,} resamples, repeats of a question averaged first. Avg is the mean over "
        "the sets shown with equal weights, resampled within each set.\n",
    ]
    for metric, (title, meaning) in TABLES.items():
        shown = published["rows"] if metric == published["metric"] else []
        parts.append(f"## {title}\n\n{meaning}\n\n{_scores(scores, names, metric, shown)}")
        if shown:
            parts.append(f"† Published: {published['source']}. {published['caveat']}\n")
    if part is not None:
        parts.append(_answerable(part, names))
    if comparisons:
        parts.append(_comparisons(comparisons, names))
    parts.append(f"## What was played\n\n{_behaviour(scores)}")
    return "\n".join(parts)


def set_label(name: str) -> str:
    """Return the label of a set, or of the mean over sets, in tables."""
    return "Avg" if name == AVERAGE else PAPER_SETS.get(name, name)


def percent(interval: Interval | None) -> str:
    """Return mean and interval in percent."""
    return (interval or Interval()).format(1, scale=100)


def share_text(share: float | None) -> str:
    """Return a share in percent."""
    return "-" if share is None else f"{100 * share:.1f}"


def _answerable(part: AnswerablePart, names: Sequence[str]) -> str:
    shares = [["share in percent", *(share_text(part.mean_share(name)) for name in names)]]
    for column in ("answerable", "unknown", "asked"):
        counts = {name: getattr(share, column) for name, share in part.shares.items()}
        counts[AVERAGE] = sum(counts.values())
        shares.append([f"questions {column}", *(f"{counts[name]:,}" for name in names)])
    tables = [
        f"### {TABLES[metric][0]}\n\n{_scores(part.scores, names, metric, [])}"
        for metric in ("exact_match", "f1")
    ]
    return "\n".join(
        [
            "## Answerable questions only\n\nScores on the questions that the corpus can answer by "
            "`zerosearch audit`: a gold answer occurs in the first passages for the question, or "
            "for the titles of its gold documents. The share excludes unknown questions: yes/no "
            "questions whose gold documents are not named. The last column of the counts is the "
            "sum.\n",
            markdown_table(["", *map(set_label, names)], shares),
            *tables,
        ]
    )


def _scores(
    scores: Sequence[Score], names: Sequence[str], metric: str, published: Sequence[Any]
) -> str:
    agents = dict.fromkeys(score.agent for score in scores)
    found = {(score.agent, score.set): score.metrics[metric] for score in scores}
    rows = [[agent, *(percent(found.get((agent, name))) for name in names)] for agent in agents]
    rows += [_published_row(row, names) for row in published]
    return markdown_table(["method", *map(set_label, names)], rows)


def _published_row(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    shown = [name for name in names if name != AVERAGE]
    scores = {name: f"{score:.1f}" for name, score in row["scores"].items()}
    if all(name in scores for name in shown):
        scores[AVERAGE] = f"{fmean(row['scores'][name] for name in shown):.1f}"
    if "bamboogle" in scores:
        scores["bamboogle"] += f" (of {row['bamboogle_questions']})"
    return [f"{row['method']}, {row['model']} †", *(scores.get(name, "-") for name in names)]


def _comparisons(comparisons: Sequence[Comparison], names: Sequence[str]) -> str:
    parts = [
        "## Comparisons\n\nDifferences in points on the same questions, with a 95 % interval from "
        "a bootstrap over pairs and the two-sided p-value of a sign-flip permutation test "
        f"({NUM_FLIPS:,} flips; Smucker et al., CIKM 2007). p-values are not corrected for "
        "multiple comparisons.\n"
    ]
    for metric in ("exact_match", "f1"):
        pairs: dict[str, dict[str, str]] = {}
        for one in comparisons:
            row = pairs.setdefault(f"{one.agent} minus {one.other}", {})
            paired = one.metrics[metric]
            row[one.set] = "-"
            if paired.p_value is not None:
                points = paired.difference.format(1, scale=100, sign=True)
                row[one.set] = f"{points}, p = {paired.p_value:.2g}"
        rows = [[pair, *(row.get(name, "-") for name in names)] for pair, row in pairs.items()]
        table = markdown_table(["", *map(set_label, names)], rows)
        parts.append(f"### {TABLES[metric][0]}\n\n{table}")
    excluded = sum(one.questions - one.pairs for one in comparisons if one.set == AVERAGE)
    if excluded:
        parts.append(
            f"Failures excluded {excluded} pairs; comparisons.csv counts them for each set.\n"
        )
    return "\n".join(parts)


def _behaviour(scores: Sequence[Score]) -> str:
    headers = ["method", "set", "questions", "episodes", "failures", "answered",
               "malformed actions", "searches", "turns"]  # fmt: skip
    rows = [
        [
            score.agent,
            set_label(score.set),
            f"{score.questions:,}",
            f"{score.episodes:,}",
            f"{score.failures:,}",
            percent(score.metrics["answered"]),
            percent(score.metrics["malformed_share"]),
            score.metrics["searches"].format_mean(2),
            score.metrics["turns"].format_mean(2),
        ]
        for score in scores
    ]
    return (
        "Episodes that a failure ended are counted here and excluded from every score.\n\n"
        + markdown_table(headers, rows)
    )
