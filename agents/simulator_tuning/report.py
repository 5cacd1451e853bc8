"""Compares a simulator's pages for held-out queries with the pages of the real engine.

All compared simulators get the same queries and seeds. Yes/no questions are not used.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from agents.baselines.heuristics import most_frequent_span
from agents.evaluation.statistics import Interval, bootstrap_interval
from agents.simulator_tuning.pairs import Pair
from zs_env.engines.retrieval.dense_index import Encoder
from zs_env.metrics import contains_answer, f1_score
from zs_env.search.engine import SearchEngine, search_checked
from zs_env.search.types import SearchError, SearchPage, SearchRequest
from zs_env.simulator import LanguageModelEngine
from zs_env.simulator.checks import failed_checks
from zs_env.simulator.generators.base import (
    Completion,
    NoResponse,
    Prompt,
    PromptRejected,
    TextGenerator,
    generate_checked,
)
from zs_env.simulator.page_parsing import split_documents
from zs_env.simulator.prompts import SimulatorPrompts
from zs_env.simulator.source_passages import passage_text
from zs_env.simulator.support import support_rate
from zs_env.text.hashing import derive_seed

METRICS: dict[str, str] = {
    "useful_hit_rate": "useful pages that contain a gold answer",
    "noisy_leak_rate": "noisy pages that contain a gold answer",
    "support_rate": "names and numbers of a document that occur in its sources",
    "exact_count_rate": "pages with exactly the requested number of documents",
    "words": "words per document",
    "repetition_rate": "documents that repeat another document or their own words",
    "overlap": "token F1 with the real engine's page of the same kind",
    "similarity": "cosine similarity with the embedding of the real engine's page",
    "answerability": "useful pages whose most frequent span is a gold answer",
    "noisy_answerability": "the same for noisy pages",
}
_EMBEDDING_BATCH = 32
_RETRY_ON = ("count", "no_answer", "leak", "unsupported")  # the checks of a page's kind
_PASSAGES = 20  # retrieved for a query, to check documents that have no sources


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedPage:
    """The documents of a generated page.

    Attributes:
        pair: the held-out pair, which has the real engine's page.
        documents: texts.
        failed: names of the failed checks of each document.
        support: support rate of each document, see `zs_env.simulator.support`; None for a document
            without names and numbers, and if the sources are unknown.
    """

    pair: Pair
    documents: tuple[str, ...]
    failed: tuple[tuple[str, ...], ...]
    support: tuple[float | None, ...]


def generate_pages(
    generator: TextGenerator,
    prompts: SimulatorPrompts,
    pairs: Sequence[Pair],
    *,
    num_documents: int = 5,
    batch_size: int = 32,
    with_retries: bool = False,
    sources: SearchEngine | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> list[GeneratedPage]:
    """Generate a page for each held-out pair. A page whose prompt is rejected is empty.

    If `with_retries`, a `LanguageModelEngine` retries a page that has too few documents, is useful
    and contains no answer, is noisy and contains one, or is not supported by its source. `sources`
    is the engine of the source passages, for prompts that use them; these need `with_retries`.
    `on_batch` is called with the number of pages generated so far.

    Raises:
        ConnectionError: if the model fails, except for a rejected prompt.
    """
    engine = LanguageModelEngine(generator, prompts, sources=sources, retry_on=_RETRY_ON)
    pages = []
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        outputs: Sequence[SearchPage | Completion | SearchError]
        if with_retries:
            outputs = engine.search([_request(pair, num_documents) for pair in batch])
        else:
            outputs = generate_checked(
                generator, [Prompt(pair.prompt, prompts.system, _seed(pair)) for pair in batch]
            )
        for pair, output in zip(batch, outputs, strict=True):
            if isinstance(output, SearchPage):
                pages.append(_of_engine(pair, output))
                continue
            if isinstance(output, Completion):
                documents = split_documents(output.text)
            elif isinstance(output, PromptRejected | NoResponse):
                documents = []
            else:
                raise ConnectionError(
                    f"a page could not be generated: {output}; check that the model runs, then run "
                    "the same command again to resume"
                )
            pages.append(_checked(pair, documents, prompts, num_documents))
        if on_batch is not None:
            on_batch(start + len(batch))
    return pages


def with_support(
    pages: Sequence[GeneratedPage], engine: SearchEngine, *, batch_size: int = 32
) -> list[GeneratedPage]:
    """Measure the support of documents without sources.

    Their sources are taken to be the first 20 passages that `engine` retrieves for the query.

    Raises:
        ConnectionError: if the engine fails.
    """
    found: list[GeneratedPage] = []
    for start in range(0, len(pages), batch_size):
        batch = pages[start : start + batch_size]
        answers = search_checked(engine, [_request(page.pair, _PASSAGES, True) for page in batch])
        for page, answer in zip(batch, answers, strict=True):
            if isinstance(answer, SearchError):
                raise ConnectionError(
                    f"no passages for the query {page.pair.query!r}: {answer}; check the engine "
                    "of --sources"
                )
            texts = list(map(passage_text, answer.documents))
            rates = [
                support_rate(text, texts) if known is None else known
                for text, known in zip(page.documents, page.support, strict=True)
            ]
            found.append(replace(page, support=tuple(rates)))
    return found


def real_pages(
    pairs: Sequence[Pair], prompts: SimulatorPrompts, *, num_documents: int = 5
) -> list[GeneratedPage]:
    """Return the real engine's pages in the same form."""
    return [
        _checked(pair, split_documents(pair.completion), prompts, num_documents) for pair in pairs
    ]


def measure(
    pages: Sequence[GeneratedPage], *, num_documents: int = 5, encoder: Encoder | None = None
) -> dict[str, Interval]:
    """Return the mean of each metric in `METRICS` with its bootstrap interval.

    `num_documents` were requested per page. Pages without a support rate do not count in
    "support_rate", which is omitted if no page has one. `encoder` embeds pages for "similarity";
    None omits this metric.
    """
    useful = [page for page in pages if page.pair.kind == "useful"]
    noisy = [page for page in pages if page.pair.kind == "noisy"]
    columns: dict[str, list[float]] = {
        "useful_hit_rate": [float(_contains_answer(page)) for page in useful],
        "noisy_leak_rate": [float(_contains_answer(page)) for page in noisy],
        "exact_count_rate": [float(len(page.documents) == num_documents) for page in pages],
        "words": [_mean([len(text.split()) for text in page.documents]) for page in pages],
        "repetition_rate": [
            _mean(["repetition" in failed for failed in page.failed]) for page in pages
        ],
        "overlap": [f1_score(" ".join(page.documents), [_real_text(page)]) for page in pages],
        "support_rate": [
            _mean(rates)
            for page in pages
            if (rates := [one for one in page.support if one is not None])
        ],
        "answerability": [_span_is_answer(page) for page in useful],
        "noisy_answerability": [_span_is_answer(page) for page in noisy],
    }
    if encoder is not None:
        columns["similarity"] = _similarities(pages, encoder)
    if not columns["support_rate"]:
        del columns["support_rate"]
    return {name: bootstrap_interval(column) for name, column in columns.items()}


def plot(reports: Mapping[str, Mapping[str, Interval]], path: Path) -> None:
    """Save a bar chart of the metrics of several simulators."""
    shown = set.intersection(*(set(report) for report in reports.values())) - {"words"}
    names = [name for name in METRICS if name in shown]
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    for index, (label, report) in enumerate(reports.items()):
        heights = [report[name].mean or 0.0 for name in names]
        bounds = [
            [max(h - (report[n].low or 0.0), 0.0) for n, h in zip(names, heights, strict=True)],
            [max((report[n].high or 0.0) - h, 0.0) for n, h in zip(names, heights, strict=True)],
        ]
        width = 0.8 / len(reports)
        positions = [number + width * index for number in range(len(names))]
        axes.bar(positions, heights, width, yerr=bounds, label=label, capsize=2)
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=8)
    axes.set_ylim(0, 1)
    axes.legend()
    figure.savefig(path, dpi=120)


def samples_html(pages: Mapping[str, Sequence[GeneratedPage]]) -> str:
    """Return an HTML document with the pages of several simulators side by side."""
    rows = []
    for row in zip(*pages.values(), strict=True):
        pair = row[0].pair
        cells = "".join(f"<td>{_cell(page)}</td>" for page in row)
        head = (
            f"<b>{html.escape(pair.kind)}</b> · {html.escape(pair.query)}<br>"
            f"<small>{html.escape(pair.question)} → {html.escape(' / '.join(pair.answers))}</small>"
        )
        rows.append(f'<tr><th colspan="{len(pages)}">{head}</th></tr><tr>{cells}</tr>')
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in pages)
    style = (
        "body{font:14px sans-serif}table{border-collapse:collapse}td,th{border:1px solid #ccc;"
        "padding:6px;vertical-align:top;text-align:left}mark{background:#fd6}.bad{color:#b00}"
    )
    return (
        '<!doctype html><meta charset="utf-8"><title>Sample pages</title>'
        f"<style>{style}</style><h1>Sample pages</h1><table><tr>{columns}</tr>"
        f"{''.join(rows)}</table>\n"
    )


def _seed(pair: Pair) -> int:
    return derive_seed(f"{pair.kind}\0{pair.query}")


def _request(pair: Pair, num_documents: int, useful: bool | None = None) -> SearchRequest:
    """Return the request of a page of the pair's kind, or of useful or noisy documents."""
    flag = pair.kind == "useful" if useful is None else useful
    return SearchRequest(
        pair.query, pair.question, pair.answers, (flag,) * num_documents, _seed(pair)
    )


def _of_engine(pair: Pair, page: SearchPage) -> GeneratedPage:
    supports = [dict(document.metadata).get("support") for document in page.documents]
    return GeneratedPage(
        pair=pair,
        documents=tuple(document.text for document in page.documents),
        failed=tuple(document.checks for document in page.documents),
        support=tuple(one if isinstance(one, float) else None for one in supports),
    )


def _checked(
    pair: Pair, documents: list[str], prompts: SimulatorPrompts, num_documents: int
) -> GeneratedPage:
    failed = failed_checks(
        documents,
        _request(pair, num_documents),
        useful=pair.kind == "useful",
        num_documents=num_documents,
        num_words=prompts.num_words,
    )
    return GeneratedPage(
        pair=pair,
        documents=tuple(documents),
        failed=tuple(failed),
        support=(None,) * len(documents),
    )


def _contains_answer(page: GeneratedPage) -> bool:
    return any(contains_answer(text, page.pair.answers) for text in page.documents)


def _span_is_answer(page: GeneratedPage) -> float:
    span = most_frequent_span(page.pair.question, page.documents)
    return float(contains_answer(span, page.pair.answers))


def _real_text(page: GeneratedPage) -> str:
    return " ".join(split_documents(page.pair.completion))


def _similarities(pages: Sequence[GeneratedPage], encoder: Encoder) -> list[float]:
    real = [_real_text(page) for page in pages]
    generated = [" ".join(page.documents) for page in pages]
    vectors = encoder.embed([*real, *generated], _EMBEDDING_BATCH)
    cosines = (vectors[: len(pages)] * vectors[len(pages) :]).sum(axis=1)
    # An empty page is not similar to any other.
    return [float(cosine) if text else 0.0 for cosine, text in zip(cosines, generated, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _cell(page: GeneratedPage) -> str:
    lines = []
    for text, failed in zip(page.documents, page.failed, strict=True):
        shown = html.escape(text)
        if contains_answer(text, page.pair.answers):
            shown = f"<mark>{shown}</mark>"
        marks = f' <span class="bad">{html.escape(", ".join(failed))}</span>' if failed else ""
        lines.append(f"<li>{shown}{marks}</li>")
    return f"<ol>{''.join(lines)}</ol>" if lines else '<span class="bad">nothing</span>'
