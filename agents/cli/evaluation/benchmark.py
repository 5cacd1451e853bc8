"""`zerosearch benchmark`: agents beside each other, in the paper's layout.

Progress and tables go to standard error, the object of `--json` to standard output. The folder gets
results.jsonl (a row for each episode), scores.csv, comparisons.csv, tables.md, report.html (one
page with everything in it) and sample.json (the questions that were asked); evaluations/ below it
holds every transcript, and each figure follows from these alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.record import RESULTS_FILE as EPISODES_FILE
from agents.evaluation.report.html import write_report
from agents.evaluation.summary import failure_summary, most_common_fault
from agents.storage.folder_lock import folder_lock
from agents.storage.plain_text import say
from agents.storage.settings_file import keep_setting
from agents.studies.benchmark import csv_files, markdown
from agents.studies.benchmark.cell import Cell
from agents.studies.benchmark.comparison import Comparison, compare_all
from agents.studies.benchmark.config import BenchmarkConfig
from agents.studies.benchmark.play import choose_samples, list_cells, play_cells
from agents.studies.benchmark.progress import BenchmarkProgress
from agents.studies.benchmark.published import load_published
from agents.studies.benchmark.question_set import question_sets
from agents.studies.benchmark.result import Result, read_results
from agents.studies.benchmark.sample import Sample
from agents.studies.benchmark.scores import Score, score_all
from zs_env.questions.rows import write_rows
from zs_env.search.prices import cost_table, prices_from_json

SETTING_FILE = "benchmark.json"
RESULTS_FILE = "results.jsonl"
SCORES_FILE = "scores.csv"
COMPARISONS_FILE = "comparisons.csv"
TABLES_FILE = "tables.md"
REPORT_FILE = "report.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 1 where a cell has no sound episode."""
    config = tyro.cli(BenchmarkConfig, prog="zerosearch benchmark", args=argv)
    output = config.folder()
    with folder_lock(output):
        return _run(config, output)


def _run(config: BenchmarkConfig, output: Path) -> int:
    prices = prices_from_json(config.prices)
    sets = question_sets(config.sets)
    played = sorted((output / "evaluations").glob(f"*/*/*/{EPISODES_FILE}"))
    keep_setting(output / SETTING_FILE, config.setting(), what="benchmark", played=played)
    samples = choose_samples(config, sets, output, started=bool(played))
    cells = list_cells(config, sets)
    console = Console(stderr=True)
    total = sum(len(samples[cell.set_name].ids) for cell in cells)
    with BenchmarkProgress(console, total, prices) as progress:
        play_cells(config, sets, samples, output, progress)
    by_cell = {cell: list(read_results(cell, output, f1_tokens=config.f1_tokens)) for cell in cells}
    results = [result for some in by_cell.values() for result in some]
    scores, comparisons = score_all(results), compare_all(results)
    _write(output, results, scores, comparisons, about=_about(config, samples))
    evaluations = [_evaluation(cell, some, config, output) for cell, some in by_cell.items()]
    write_report(evaluations, output / REPORT_FILE, title="Benchmark")
    for table in _tables(scores):
        console.print(table)
    console.print(f"Searches of this session: {progress.spent()}")
    if progress.total_costs.completion_tokens:
        console.print(cost_table(progress.total_costs, prices))
    _warn_of_faults(console, by_cell)
    say(console, f"Tables, results, report.html and transcripts: {output}")
    if config.json:
        print(json.dumps(_to_json(config, output, scores, comparisons)))
    return 1 if any(all(one.failure for one in some) for some in by_cell.values()) else 0


def _evaluation(
    cell: Cell, results: Sequence[Result], config: BenchmarkConfig, output: Path
) -> EvaluationFolder:
    """Return a cell's evaluation, called as tables call it and with the F1 that tables show."""
    repeat = f", repeat {cell.repeat}" if config.repeats > 1 else ""
    found = EvaluationFolder.read(
        cell.folder(output), agent=cell.agent + repeat, set_name=cell.set_name
    )
    scored = zip(found.results, results, strict=True)
    return replace(found, results=tuple(replace(one, f1=ours.f1) for one, ours in scored))


def _write(
    output: Path,
    results: Sequence[Result],
    scores: Sequence[Score],
    comparisons: Sequence[Comparison],
    *,
    about: str,
) -> None:
    write_rows(output / RESULTS_FILE, results)
    csv_files.write_scores(output / SCORES_FILE, scores)
    csv_files.write_comparisons(output / COMPARISONS_FILE, comparisons)
    text = markdown.document(about, scores, comparisons, load_published())
    (output / TABLES_FILE).write_text(text, encoding="utf-8")


def _about(config: BenchmarkConfig, samples: Mapping[str, Sample]) -> str:
    sizes = ", ".join(f"{name} {len(sample.ids):,}" for name, sample in samples.items())
    decoding = f"sampled at temperature {config.temperature:g}" if config.temperature else "greedy"
    noise = "the environment's own" if config.noise is None else f"{config.noise:g}"
    return (
        f"Questions asked: {sizes}; `sample.json` holds their ids. Engine: `{config.engine}`, "
        f"noise {noise}. Language models decode: {decoding}. Repeats: {config.repeats}, from seed "
        f"{config.seed}. F1 counts {config.f1_tokens}."
    )


def _tables(scores: Sequence[Score]) -> Iterator[Table]:
    for agent in dict.fromkeys(score.agent for score in scores):
        # Without lines or margins it fits into 80 columns.
        table = Table(
            title=f"\n{agent}, in percent", title_justify="left", box=None, pad_edge=False
        )
        table.add_column("")
        for title, _ in markdown.TABLES.values():
            table.add_column(title.lower(), justify="right")
        for score in scores:
            if score.agent == agent:
                cells = [markdown.percent(score.metrics[metric]) for metric in markdown.TABLES]
                table.add_row(markdown.set_label(score.set), *cells)
        yield table


def _warn_of_faults(console: Console, by_cell: Mapping[Cell, Sequence[Result]]) -> None:
    for cell, results in by_cell.items():
        failures = [result.failure for result in results if result.failure is not None]
        if failures:
            told = failure_summary(len(failures), len(results), most_common_fault(failures))
            say(
                console,
                f"{cell}: {told}. They are left out of the scores; the same command plays them "
                "again.",
                style="yellow",
            )


def _to_json(
    config: BenchmarkConfig,
    output: Path,
    scores: Sequence[Score],
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    return {
        **config.setting(),
        "repeats": config.repeats,
        "f1_tokens": config.f1_tokens,
        "scores": [asdict(score) for score in scores],
        "comparisons": [asdict(one) for one in comparisons],
        "folder": str(output),
    }
