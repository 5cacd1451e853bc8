"""The tables of a benchmark in the paper's layout, as Markdown; every score is a percentage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from agents.evaluation.paired import NUM_FLIPS, PairedDifference
from agents.evaluation.statistics import NUM_RESAMPLES, Interval
from agents.studies.benchmark.comparison import Comparison
from agents.studies.benchmark.published import Published, PublishedScore
from agents.studies.benchmark.question_set import AVERAGE, PAPER_SETS
from agents.studies.benchmark.scores import Score

# Title and meaning of each score's table, in order.
TABLES: dict[str, tuple[str, str]] = {
    "exact_match": ("Exact match", "The normalised answer equals a gold answer."),
    "f1": ("F1", "Token F1 with the nearest gold answer."),
    "cover_match": ("Cover match", "A gold answer stands in the answer as whole words."),
    "substring_match": (
        "Substring match",
        "A gold answer is a substring of the answer, also inside a word, and one that normalises "
        'to nothing is in every answer: what the original reports as "EM".',
    ),
}


def document(
    about: str,
    scores: Sequence[Score],
    comparisons: Sequence[Comparison],
    published: Published | None,
) -> str:
    """Lay everything out.

    Args:
        about: a paragraph on what was played.
        scores: of every agent on every set, with the averages.
        comparisons: of every two agents.
        published: rows to stand below ours where the metric is theirs; None for none.
    """
    names = list(dict.fromkeys(score.set for score in scores))
    parts = [f"# Benchmark\n\n{about}\n"]
    parts.append(
        "Every score is a percentage, with a 95 % interval: a bootstrap over questions, "
        f"{NUM_RESAMPLES:,} resamples, repeats of a question averaged first. Avg is the mean over "
        "the sets shown, each counting alike, resampled within each set.\n"
    )
    for metric, (title, meaning) in TABLES.items():
        theirs = published if published and published.metric == metric else None
        parts.append(f"## {title}\n\n{meaning}\n\n{_scores(scores, names, metric, theirs)}")
        if theirs:
            parts.append(f"† Published: {theirs.source}. {theirs.caveat}\n")
    if comparisons:
        parts.append(_comparisons(comparisons, names))
    parts.append(f"## What was played\n\n{_behaviour(scores)}")
    return "\n".join(parts)


def set_label(name: str) -> str:
    """Return what a table calls a set, or the mean over sets."""
    return "Avg" if name == AVERAGE else PAPER_SETS.get(name, name)


def _scores(
    scores: Sequence[Score], names: Sequence[str], metric: str, published: Published | None
) -> str:
    agents = dict.fromkeys(score.agent for score in scores)
    found = {(score.agent, score.set): score.metrics[metric] for score in scores}
    rows = [[agent, *(percent(found.get((agent, name))) for name in names)] for agent in agents]
    rows += [_published_row(row, names) for row in (published.rows if published else ())]
    return _table(["method", *map(set_label, names)], rows)


def _published_row(row: PublishedScore, names: Sequence[str]) -> list[str]:
    shown = [name for name in names if name != AVERAGE]
    scores = {name: f"{score:.1f}" for name, score in row.scores.items()}
    if all(name in scores for name in shown):
        scores[AVERAGE] = f"{fmean(row.scores[name] for name in shown):.1f}"
    if "bamboogle" in scores:
        scores["bamboogle"] += f" (of {row.bamboogle_questions})"
    return [f"{row.method}, {row.model} †", *(scores.get(name, "-") for name in names)]


def _comparisons(comparisons: Sequence[Comparison], names: Sequence[str]) -> str:
    parts = [
        "## Comparisons\n\nDifferences in points on the same questions, with a 95 % interval from "
        "a bootstrap over pairs and the two-sided p-value of a sign-flip permutation test "
        f"({NUM_FLIPS:,} flips; Smucker et al., CIKM 2007). p-values are not corrected for their "
        "number.\n"
    ]
    for metric in ("exact_match", "f1"):
        pairs: dict[str, dict[str, str]] = {}
        for one in comparisons:
            row = pairs.setdefault(f"{one.agent} minus {one.other}", {})
            row[one.set] = _difference(one.metrics[metric])
        rows = [[pair, *(row.get(name, "-") for name in names)] for pair, row in pairs.items()]
        parts.append(f"### {TABLES[metric][0]}\n\n{_table(['', *map(set_label, names)], rows)}")
    left_out = sum(one.questions - one.pairs for one in comparisons if one.set == AVERAGE)
    if left_out:
        parts.append(f"Failures left {left_out} pairs out; comparisons.csv counts them by set.\n")
    return "\n".join(parts)


def _behaviour(scores: Sequence[Score]) -> str:
    headers = ["method", "set", "questions", "episodes", "failures", "answered", "malformed actions",
               "searches", "turns"]  # fmt: skip
    rows = [
        [
            score.agent,
            set_label(score.set),
            f"{score.questions:,}",
            f"{score.episodes:,}",
            f"{score.failures:,}",
            percent(score.metrics["answered"]),
            percent(score.metrics["malformed_share"]),
            _number(score.metrics["searches"]),
            _number(score.metrics["turns"]),
        ]
        for score in scores
    ]
    about = "Episodes that a failure of the engine ended are counted here and left out of every score.\n"
    return f"{about}\n{_table(headers, rows)}"


def percent(interval: Interval | None) -> str:
    """Return mean and interval in percent."""
    if interval is None or interval.mean is None:
        return "-"
    mean, low, high = (100 * float(end) for end in interval.to_json().values() if end is not None)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def _difference(paired: PairedDifference) -> str:
    ends = paired.difference
    if ends.mean is None or ends.low is None or ends.high is None or paired.p_value is None:
        return "-"
    return (
        f"{100 * ends.mean:+.1f} [{100 * ends.low:+.1f}, {100 * ends.high:+.1f}], "
        f"p = {paired.p_value:.2g}"
    )


def _number(interval: Interval) -> str:
    return "-" if interval.mean is None else f"{interval.mean:.2f}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines
    )
