"""`zerosearch robustness`: agents under every kind and level of noise, as a versioned suite.

Progress and tables go to standard error, the object of `--json` to standard output. The output
folder contains scores.csv, comparisons.csv, tables.md, results.json and report.html (one page with
tables, plots and transcripts). Each of them names the version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from agents.agent_labels import agents_by_label
from agents.agent_registry import check_agents
from agents.evaluation.evaluate import DEFAULT_CONCURRENCY
from agents.evaluation.progress import print_plain
from agents.evaluation.report.html import write_report
from agents.evaluation.settings import specs_from_flags
from agents.prompt_limits import PromptLimits
from agents.storage.output_folder import FreshFlag, atomic_path, folder_lock
from agents.studies.robustness.play import RobustnessCell, run_robustness
from agents.studies.robustness.scores import compare_all, csv_row, score_all
from agents.studies.robustness.spec import LATEST, QuestionSet, corpus_set, world_sets
from agents.studies.robustness.tables import about, markdown_document, score_tables
from agents.studies.tables import figure_table, write_csv
from zs_env.text.paths import expand_paths


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig(PromptLimits, FreshFlag):
    """Play agents under every kind and level of noise, on fixed worlds and on your own corpus.

    Worlds, questions, levels and seeds are those of robustness-v1, so that results of different
    people are comparable. The same command continues an interrupted suite; with more agents it
    plays only what is missing. docs/robustness.md defines every figure.

    Attributes:
        agents: as for `zerosearch evaluate --agent`; LABEL=AGENT sets the label in tables.
        questions: also play the first questions of these with the corpus engine: a data file, or a
            JSON spec. Needs `passages`.
        passages: passages of the corpus engine: a JSONL or Parquet file, plain or gzipped, or a
            folder of .txt and .md files.
        index: folder of its BM25 index; FILE.bm25 by default, built if missing.
        worlds: play the held-out worlds.
        episodes: at most so many questions of each world and of the corpus, for a quick look; the
            result names the number.
        allow_abstain: add a line to the prompt that allows the answer "unknown".
        engine_timeout_s: seconds after which a call of the engine fails, and with it its episodes.
        concurrency: episodes played at once; the results do not depend on it.
        output: folder for the episodes, the tables and the page.
        json: print one JSON object to standard output.
    """

    agents: tuple[str, ...]
    questions: str | None = None
    passages: str | None = None
    index: str | None = None
    worlds: bool = True
    episodes: int | None = None
    allow_abstain: bool = False
    engine_timeout_s: float | None = None
    concurrency: int = DEFAULT_CONCURRENCY
    output: Path = Path("runs/robustness")
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        expand_paths(self)
        if (self.questions is None) != (self.passages is None):
            raise ValueError("--questions and --passages belong together; pass both or neither")
        if not self.worlds and self.questions is None:
            raise ValueError("--no-worlds needs --questions and --passages")
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"--episodes must be at least 1, got {self.episodes}")
        # Checked here, because --fresh deletes results before the first episode.
        if self.concurrency < 1:
            raise ValueError(f"--concurrency must be at least 1, got {self.concurrency}")
        if self.engine_timeout_s is not None and not self.engine_timeout_s > 0.0:
            raise ValueError(f"--engine-timeout-s must be above 0, got {self.engine_timeout_s}")

    def sets(self) -> list[QuestionSet]:
        """Return the question sets to play."""
        sets = world_sets(LATEST, self.episodes) if self.worlds else []
        if self.questions is not None:
            retriever = {"kind": "bm25", "passages": self.passages}
            if self.index is not None:
                retriever["index"] = self.index
            kwargs: dict[str, Any] = specs_from_flags(
                questions=self.questions, engine=None, limits=self.prompt_limits()
            )
            if kwargs["questions"]["kind"] == "world":
                raise ValueError(
                    "--questions got the questions of a world; the corpus engine does not have all "
                    "kinds of noise for them; pass a file of questions, or leave out --questions "
                    "and --passages to play the held-out worlds only"
                )
            kwargs["engine"] = {"kind": "corpus", "retriever": retriever}
            sets.append(corpus_set(LATEST, kwargs, self.episodes))
        if self.engine_timeout_s is None:
            return sets
        timeout = {"engine_timeout_s": self.engine_timeout_s}
        return [replace(one, env_kwargs={**one.env_kwargs, **timeout}) for one in sets]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 if every episode of a cell failed."""
    config = tyro.cli(RobustnessConfig, prog="zerosearch robustness", args=argv)
    agents = agents_by_label(config.agents)
    check_agents(agents.values())
    console = Console(stderr=True)
    with folder_lock(config.output):
        cells = run_robustness(
            agents,
            config.sets(),
            config.output,
            spec=LATEST,
            allow_abstain=config.allow_abstain,
            fresh=config.fresh,
            concurrency=config.concurrency,
            console=console,
        )
        figures = _write(config, cells, console)
    for folder, cell in {cell.evaluation.folder: cell for cell in cells}.items():
        if cell.report.num_failures:
            warning = f"{folder.relative_to(config.output)}: {cell.report.failure_summary}"
            print_plain(console, f"{warning}. The same command replays them.", style="yellow")
    print_plain(console, f"Tables, results, report.html and transcripts: {config.output}")
    if config.json:
        print(json.dumps({**figures, "folder": str(config.output)}))
    return 1 if any(cell.report.all_failed for cell in cells) else 0


def _write(
    config: RobustnessConfig, cells: Sequence[RobustnessCell], console: Console
) -> Mapping[str, Any]:
    """Write all files, print the tables, and return the figures as JSON values."""
    output, abstain = config.output, config.allow_abstain
    scores, comparisons = score_all(cells), compare_all(cells)
    version = {"version": LATEST.version, "allow_abstain": abstain}
    for name, rows in (("scores.csv", scores), ("comparisons.csv", comparisons)):
        write_csv(output / name, [{**version, **csv_row(one)} for one in rows])
    figures = {
        **LATEST.to_json(),
        "allow_abstain": abstain,
        "episodes": {cell.set.name: cell.report.num_episodes for cell in cells},
        "scores": list(map(asdict, scores)),
        "comparisons": list(map(asdict, comparisons)),
    }
    with atomic_path(output / "results.json") as path:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    tables = score_tables(scores, comparisons, LATEST, allow_abstain=abstain)
    text = markdown_document(tables, cells, LATEST, allow_abstain=abstain)
    (output / "tables.md").write_text(text, encoding="utf-8")
    evaluations = [
        replace(cell.evaluation, set_name=f"{cell.set.name}, {cell.kind}") for cell in cells
    ]
    write_report(evaluations, output / "report.html", title=LATEST.version, tables=tables)
    for title, headers, rows in score_tables(
        scores, comparisons, LATEST, allow_abstain=abstain, brief=True
    ):
        console.print(figure_table(title, headers, rows, no_wrap="area under F1"))
    print_plain(console, about(cells, LATEST, allow_abstain=abstain))
    return figures
