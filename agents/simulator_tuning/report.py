"""How faithful a simulator is: its pages for held-out queries, beside the real engine's own.

Every figure is of one model with one prompts; the same queries and seeds serve all. Yes/no questions
are not among them.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from agents.baselines.search_once import most_frequent_span
from agents.evaluation.statistics import Interval, bootstrap_interval
from agents.simulator_tuning.build import Pair
from zs_env.engines.retrieval.dense_index import Encoder
from zs_env.metrics import contains_answer, f1_score
from zs_env.search.types import SearchError, SearchRequest
from zs_env.simulator import LanguageModelEngine
from zs_env.simulator.checks import failed_checks
from zs_env.simulator.generators.base import Completion, Prompt, PromptRejected, TextGenerator
from zs_env.simulator.page_parsing import split_documents
from zs_env.simulator.prompts import SimulatorPrompts
from zs_env.text.hashing import derive_seed

METRICS: dict[str, str] = {
    "useful_hit_rate": "useful pages with a gold answer in at least one document",
    "noisy_leak_rate": "noisy pages with a gold answer in any document",
    "exact_count_rate": "pages with exactly as many documents as asked for",
    "words": "words of a document",
    "repetition_rate": "documents that repeat another of the page, or themselves",
    "overlap": "token F1 with the real engine's page of the same kind",
    "similarity": "cosine of the embedded page with the real engine's",
    "answerability": "useful pages from which a reader without knowledge names a gold answer",
    "noisy_answerability": "the same of noisy pages",
}
_EMBEDDED_AT_ONCE = 32
_RETRIED = ("count", "no_answer", "leak")  # what makes a page of the wrong kind


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPage:
    """One text of a simulator, taken apart.

    Attributes:
        pair: the held-out pair, with the real engine's page.
        documents: written; as many as there are.
        failed: checks that each fails.
    """

    pair: Pair
    documents: tuple[str, ...]
    failed: tuple[tuple[str, ...], ...]


def write_pages(
    generator: TextGenerator,
    prompts: SimulatorPrompts,
    pairs: Sequence[Pair],
    *,
    num_documents: int = 5,
    batch_size: int = 32,
    on_batch: Callable[[int], None] | None = None,
) -> list[WrittenPage]:
    """Have a model write a page for each held-out pair; one whose prompt is too long is empty.

    Args:
        generator: the model.
        prompts: how it is asked.
        pairs: held out from tuning.
        num_documents: asked for.
        batch_size: pages asked for at a time.
        on_batch: called with the number of pages written so far.

    Raises:
        ConnectionError: if it does not write one for a reason that is not the prompt's.
    """

    def write(part: Sequence[Pair]) -> list[list[str] | SearchError]:
        written = generator.generate([_prompt(pair, prompts) for pair in part])
        return [
            split_documents(one.text) if isinstance(one, Completion) else one for one in written
        ]

    pages = _in_batches(write, pairs, batch_size, on_batch)
    return [_taken_apart(*page, prompts, num_documents) for page in pages]


def checked_pages(
    generator: TextGenerator,
    prompts: SimulatorPrompts,
    pairs: Sequence[Pair],
    *,
    num_documents: int = 5,
    batch_size: int = 32,
    on_batch: Callable[[int], None] | None = None,
) -> list[WrittenPage]:
    """The same pages as an environment meets them that has the engine check what is written.

    A page is written again where it has too few or too many documents, is useful and holds no
    answer, or is noisy and holds one. Arguments and errors are those of `write_pages`.
    """
    engine = LanguageModelEngine(generator, prompts, retry_on=_RETRIED)

    def search(part: Sequence[Pair]) -> list[list[str] | SearchError]:
        asked = [
            SearchRequest(
                pair.query,
                pair.question,
                pair.answers,
                (pair.kind == "useful",) * num_documents,
                derive_seed(f"{pair.kind}\0{pair.query}"),
            )
            for pair in part
        ]
        found = engine.search(asked)
        return [
            page if isinstance(page, SearchError) else [one.text for one in page.documents]
            for page in found
        ]

    pages = _in_batches(search, pairs, batch_size, on_batch)
    return [_taken_apart(*page, prompts, num_documents) for page in pages]


def real_pages(
    pairs: Sequence[Pair], prompts: SimulatorPrompts, *, num_documents: int = 5
) -> list[WrittenPage]:
    """The real engine's own pages, as if a simulator had written them."""
    return [
        _taken_apart(pair, split_documents(pair.completion), prompts, num_documents)
        for pair in pairs
    ]


def measure(
    pages: Sequence[WrittenPage], *, num_documents: int = 5, encoder: Encoder | None = None
) -> dict[str, Interval]:
    """Return the figures of `METRICS` with their intervals, over pages.

    Args:
        pages: of one simulator.
        num_documents: asked for.
        encoder: for "similarity", which is left out without one.
    """
    useful = [page for page in pages if page.pair.kind == "useful"]
    noisy = [page for page in pages if page.pair.kind == "noisy"]
    columns: dict[str, list[float]] = {
        "useful_hit_rate": [float(_holds(page)) for page in useful],
        "noisy_leak_rate": [float(_holds(page)) for page in noisy],
        "exact_count_rate": [float(len(page.documents) == num_documents) for page in pages],
        "words": [_mean([len(text.split()) for text in page.documents]) for page in pages],
        "repetition_rate": [
            _mean(["repetition" in failed for failed in page.failed]) for page in pages
        ],
        "overlap": [f1_score(" ".join(page.documents), [_real_text(page)]) for page in pages],
        "answerability": [_read(page) for page in useful],
        "noisy_answerability": [_read(page) for page in noisy],
    }
    if encoder is not None:
        columns["similarity"] = _similarities(pages, encoder)
    return {name: bootstrap_interval(column) for name, column in columns.items()}


def draw(reports: Mapping[str, Mapping[str, Interval]], path: Path) -> None:
    """Draw the rates of several simulators side by side."""
    shown = set.intersection(*(set(report) for report in reports.values())) - {"words"}
    names = [name for name in METRICS if name in shown]
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    for place, (label, report) in enumerate(reports.items()):
        heights = [report[name].mean or 0.0 for name in names]
        bounds = [
            [max(h - (report[n].low or 0.0), 0.0) for n, h in zip(names, heights, strict=True)],
            [max((report[n].high or 0.0) - h, 0.0) for n, h in zip(names, heights, strict=True)],
        ]
        width = 0.8 / len(reports)
        at = [number + width * place for number in range(len(names))]
        axes.bar(at, heights, width, yerr=bounds, label=label, capsize=2)
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=8)
    axes.set_ylim(0, 1)
    axes.legend()
    figure.savefig(path, dpi=120)


def samples_html(
    pages: Mapping[str, Sequence[WrittenPage]], *, count: int = 12, title: str = "Sample pages"
) -> str:
    """Return sample pages of several simulators side by side, as one HTML document."""
    names = list(pages)
    rows = []
    for number in range(min(count, *(len(one) for one in pages.values()))):
        pair = pages[names[0]][number].pair
        cells = "".join(f"<td>{_cell(pages[name][number])}</td>" for name in names)
        head = (
            f"<b>{html.escape(pair.kind)}</b> · {html.escape(pair.query)}<br>"
            f"<small>{html.escape(pair.question)} → {html.escape(' / '.join(pair.answers))}</small>"
        )
        rows.append(f'<tr><th colspan="{len(names)}">{head}</th></tr><tr>{cells}</tr>')
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    style = (
        "body{font:14px sans-serif}table{border-collapse:collapse}td,th{border:1px solid #ccc;"
        "padding:6px;vertical-align:top;text-align:left}mark{background:#fd6}.bad{color:#b00}"
    )
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style><h1>{html.escape(title)}</h1><table><tr>{columns}</tr>"
        f"{''.join(rows)}</table>\n"
    )


def _prompt(pair: Pair, prompts: SimulatorPrompts) -> Prompt:
    return Prompt(pair.prompt, prompts.system, derive_seed(f"{pair.kind}\0{pair.query}"))


def _in_batches(
    write: Callable[[Sequence[Pair]], Sequence[list[str] | SearchError]],
    pairs: Sequence[Pair],
    batch_size: int,
    on_batch: Callable[[int], None] | None,
) -> Iterator[tuple[Pair, list[str]]]:
    """Yield the documents written for each pair; none where its prompt cannot be written for."""
    for start in range(0, len(pairs), batch_size):
        part = pairs[start : start + batch_size]
        written = write(part)
        for failed in written:
            if isinstance(failed, SearchError) and not isinstance(failed, PromptRejected):
                raise ConnectionError(
                    f"a page was not written: {failed}; see that its model runs, then give the "
                    "same command again, which goes on where this one stopped"
                )
        for pair, documents in zip(part, written, strict=True):
            yield pair, [] if isinstance(documents, SearchError) else documents
        if on_batch is not None:
            on_batch(start + len(part))


def _taken_apart(
    pair: Pair, documents: list[str], prompts: SimulatorPrompts, num_documents: int
) -> WrittenPage:
    useful = pair.kind == "useful"
    failed = failed_checks(
        documents,
        SearchRequest(pair.query, pair.question, pair.answers, (useful,) * num_documents, 0),
        useful=useful,
        num_documents=num_documents,
        num_words=prompts.num_words,
    )
    return WrittenPage(pair=pair, documents=tuple(documents), failed=tuple(failed))


def _holds(page: WrittenPage) -> bool:
    return any(contains_answer(text, page.pair.answers) for text in page.documents)


def _read(page: WrittenPage) -> float:
    span = most_frequent_span(page.pair.question, page.documents)
    return float(contains_answer(span, page.pair.answers))


def _real_text(page: WrittenPage) -> str:
    return " ".join(split_documents(page.pair.completion))


def _similarities(pages: Sequence[WrittenPage], encoder: Encoder) -> list[float]:
    real = [_real_text(page) for page in pages]
    written = [" ".join(page.documents) for page in pages]
    vectors = encoder.embed([*real, *written], _EMBEDDED_AT_ONCE)
    cosines = (vectors[: len(pages)] * vectors[len(pages) :]).sum(axis=1)
    # A page without a word is like no other.
    return [float(cosine) if text else 0.0 for cosine, text in zip(cosines, written, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _cell(page: WrittenPage) -> str:
    lines = []
    for text, failed in zip(page.documents, page.failed, strict=True):
        shown = html.escape(text)
        if contains_answer(text, page.pair.answers):
            shown = f"<mark>{shown}</mark>"
        marks = f' <span class="bad">{html.escape(", ".join(failed))}</span>' if failed else ""
        lines.append(f"<li>{shown}{marks}</li>")
    return f"<ol>{''.join(lines)}</ol>" if lines else '<span class="bad">nothing</span>'


def to_json(report: Mapping[str, Interval]) -> dict[str, Any]:
    """Return a report as JSON values."""
    return {name: interval.to_json() for name, interval in report.items()}
