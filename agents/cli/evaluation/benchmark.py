"""`zerosearch benchmark`: compares agents in the layout of the paper's tables.

Progress and tables go to standard error, the object of `--json` to standard output. The output
folder contains results.jsonl (one row for each episode), scores.csv, comparisons.csv, tables.md,
report.html (one page with everything) and sample.json (the questions); with --audit also
answerable.csv, the scores on the answerable questions. Its folder evaluations/ contains every
transcript; all figures are computed from these transcripts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from agents.agent_labels import agents_by_label
from agents.agent_registry import check_agents
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.progress import print_plain
from agents.evaluation.report.html import write_report
from agents.evaluation.summary import failure_summary, most_common_failure
from agents.specs import served_models
from agents.storage.output_folder import ensure_settings, folder_lock
from agents.studies.benchmark import markdown
from agents.studies.benchmark.answerable import AnswerablePart, find_answerable
from agents.studies.benchmark.cells import BenchmarkSession, Cell, play_cells
from agents.studies.benchmark.config import BenchmarkConfig, question_sets
from agents.studies.benchmark.sample import Sample, choose_samples
from agents.studies.benchmark.scores import Result, Score, compare_all, csv_rows, score_all
from agents.studies.tables import write_csv
from zs_env.questions.rows import write_rows
from zs_env.search.prices import cost_table, prices_from_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 if every episode of a cell failed."""
    config = tyro.cli(BenchmarkConfig, prog="zerosearch benchmark", args=argv)
    check_agents(agents_by_label(config.agents).values())
    served_models(config.env_kwargs())
    output = config.folder()
    with folder_lock(output):
        return _run(config, output)


def _run(config: BenchmarkConfig, output: Path) -> int:
    prices = prices_from_json(config.prices)
    sets = question_sets(config.sets)
    existing = sorted((output / "evaluations").glob("*/*/*/*.jsonl"))
    path, setting = output / "benchmark.json", config.setting()
    ensure_settings(path, setting, what="benchmark", files=existing, fresh=config.fresh)
    started = bool(existing) and not config.fresh
    samples = choose_samples(config, sets, output, started=started)
    cells = [
        Cell(agent=agent, set_name=name, repeat=repeat)
        for agent, repeat, name in product(
            agents_by_label(config.agents), range(config.repeats), sets
        )
    ]
    console = Console(stderr=True)
    answerable = find_answerable(config, sets, samples, output, console)
    total = sum(len(samples[cell.set_name].ids) for cell in cells)
    with BenchmarkSession(console, total, prices) as session:
        play_cells(config, cells, sets, samples, output, session)
    by_cell = {cell: list(cell.results(output, f1_tokens=config.f1_tokens)) for cell in cells}
    results = [result for some in by_cell.values() for result in some]
    scores, comparisons = score_all(results), compare_all(results)
    write_rows(output / "results.jsonl", results)
    write_csv(output / "scores.csv", [row for one in scores for row in csv_rows(one)])
    write_csv(output / "comparisons.csv", [row for one in comparisons for row in csv_rows(one)])
    part = None if answerable is None else AnswerablePart.of(results, answerable)
    part_rows = [row for one in part.scores for row in csv_rows(one)] if part else []
    write_csv(output / "answerable.csv", part_rows)
    text = markdown.document(_about(config, samples), scores, comparisons, part)
    (output / "tables.md").write_text(text, encoding="utf-8")
    evaluations = []
    for cell, some in by_cell.items():  # with the labels and the results of the tables
        repeat = f", repeat {cell.repeat}" if config.repeats > 1 else ""
        names = {"agent": cell.agent + repeat, "set_name": cell.set_name}
        evaluation = EvaluationFolder.read(cell.folder(output))
        evaluations.append(replace(evaluation, results=tuple(some), **names))
    write_report(evaluations, output / "report.html", title="Benchmark")
    for table in _tables(scores, part):
        console.print(table)
    console.print(f"Searches of this session: {session.summary()}")
    if session.total_costs.completion_tokens:
        console.print(cost_table(session.total_costs, prices))
    _report_failures(console, by_cell)
    print_plain(console, f"Tables, results, report.html and transcripts: {output}")
    if config.json:
        figures = {
            **config.setting(),
            "repeats": config.repeats,
            "f1_tokens": config.f1_tokens,
            "scores": [asdict(score) for score in scores],
            "comparisons": [asdict(one) for one in comparisons],
            "answerable": part and part.to_json(),
            "folder": str(output),
        }
        print(json.dumps(figures))
    return 1 if any(all(one.failure for one in some) for some in by_cell.values()) else 0


def _about(config: BenchmarkConfig, samples: Mapping[str, Sample]) -> str:
    sizes = ", ".join(f"{name} {len(sample.ids):,}" for name, sample in samples.items())
    decoding = f"sampled at temperature {config.temperature:g}" if config.temperature else "greedy"
    noise = "the environment's own" if config.noise is None else f"{config.noise:g}"
    return (
        f"Questions asked: {sizes}; `sample.json` holds their ids. Engine: `{config.engine}`, "
        f"noise {noise}. Language models decode: {decoding}. Repeats: {config.repeats}, from seed "
        f"{config.seed}. F1 counts {config.f1_tokens}."
    )


def _tables(scores: Sequence[Score], part: AnswerablePart | None) -> Iterator[Table]:
    for agent in dict.fromkeys(score.agent for score in scores):
        yield _table(f"{agent}, in percent", [one for one in scores if one.agent == agent])
        if part is not None:
            answerable = [one for one in part.scores if one.agent == agent]
            yield _table(f"{agent}, answerable questions only", answerable, part)


def _table(title: str, scores: Sequence[Score], part: AnswerablePart | None = None) -> Table:
    # Without lines or margins the table fits into 80 columns.
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    metrics = list(markdown.TABLES)
    if part is not None:
        table.add_column("share", justify="right")
        metrics.remove("substring_match")  # the share takes its place
    for metric in metrics:
        table.add_column(markdown.TABLES[metric][0].lower(), justify="right")
    for score in scores:
        share = [] if part is None else [markdown.share_text(part.mean_share(score.set))]
        cells = [markdown.percent(score.metrics[metric]) for metric in metrics]
        table.add_row(markdown.set_label(score.set), *share, *cells)
    return table


def _report_failures(console: Console, by_cell: Mapping[Cell, Sequence[Result]]) -> None:
    for cell, results in by_cell.items():
        failures = [result.failure for result in results if result.failure is not None]
        if failures:
            summary = failure_summary(len(failures), len(results), most_common_failure(failures))
            print_plain(
                console,
                f"{cell}: {summary}. They are excluded from the scores; the same command replays "
                "them.",
                style="yellow",
            )
