"""`zerosearch audit`: which questions a corpus can answer, and which questions are suspicious.

Progress and tables go to standard error, the object of `--json` to standard output. The output
folder contains audit.json (the figures), questions.jsonl (one row for each question) and audit.html
(one page with everything). `zerosearch benchmark --audit FOLDER` reads the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.evaluation.progress import ProgressBar, print_plain
from agents.storage.output_folder import folder_lock
from agents.studies.audit.audit import FIGURES_FILE, ROWS_FILE, Audit, audit_sets
from agents.studies.audit.html import PAGE_FILE, write_page
from agents.studies.audit.tables import audit_tables
from agents.studies.benchmark.config import named_sets
from agents.studies.benchmark.sample import all_questions
from zs_env.config import build_questions
from zs_env.engines import BM25Engine
from zs_env.questions.question import Question
from zs_env.text.paths import expand_paths


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Find out which questions a passage file can answer, and which questions are suspicious.

    A question counts as answerable if the first passages that BM25 finds for it, or for the titles
    of its gold documents, contain a gold answer as whole words. A yes/no question counts as
    answerable if BM25 finds all its gold documents, and as unknown if its set names none. The
    column "chance" shows how often random passages contain a gold answer.

    Attributes:
        questions: question files, as FILE or NAME=FILE; also NAME=JSON spec, or a set of
            `zerosearch benchmark`, from the hub.
        passages: JSONL or Parquet file, plain or gzipped, or a folder of .txt and .md files.
        index: folder of the BM25 index; FILE.bm25 by default, built if missing.
        top_k: passages of each search.
        against: further question files, such as training questions; the command counts the
            questions that are also in these.
        output: folder for the figures, the rows and the page; earlier ones are replaced.
        json: print one JSON object to standard output.
    """

    questions: tuple[str, ...]
    passages: Path
    index: Path | None = None
    top_k: int = 20
    against: tuple[str, ...] = ()
    output: Path = Path("runs/audit")
    json: bool = False

    def __post_init__(self) -> None:
        expand_paths(self)
        if not self.questions:
            raise ValueError("--questions is empty; pass at least one question file")
        if self.top_k < 1:
            raise ValueError(f"--top-k must be at least 1, got {self.top_k}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    config = tyro.cli(AuditConfig, prog="zerosearch audit", args=argv)
    sets = _load(config.questions, "--questions")
    against = _load(config.against, "--against") if config.against else {}
    console = Console(stderr=True)
    with folder_lock(config.output):
        _check_output(config.output)
        audit = _audit(config, sets, against, console)
        audit.write(config.output)
        write_page(audit, config.output / PAGE_FILE)
    for table in audit_tables(audit):
        console.print(table)
    print_plain(console, f"Figures, questions and {PAGE_FILE}: {config.output}")
    if config.json:
        print(json.dumps({**audit.to_json(), "folder": str(config.output)}))
    return 0


def _check_output(folder: Path) -> None:
    """Raise ValueError if the rows would replace a file that is not of an audit."""
    if (folder / ROWS_FILE).exists() and not (folder / FIGURES_FILE).exists():
        raise ValueError(
            f"{folder} contains {ROWS_FILE} but no {FIGURES_FILE}, so it is not the folder of an "
            "audit; choose another --output"
        )


def _load(texts: Sequence[str], flag: str) -> dict[str, list[Question]]:
    return {
        name: all_questions(build_questions(spec))
        for name, spec in named_sets(texts, flag=flag).items()
    }


def _audit(
    config: AuditConfig,
    sets: Mapping[str, Sequence[Question]],
    against: Mapping[str, Sequence[Question]],
    console: Console,
) -> Audit:
    with ProgressBar(console, "audit") as bar:
        engine = BM25Engine(config.passages, config.index, progress=bar.count)
        return audit_sets(
            sets,
            config.passages,
            engine,
            top_k=config.top_k,
            against=against,
            on_progress=bar.count,
        )
