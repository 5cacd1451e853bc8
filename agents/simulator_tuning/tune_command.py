"""`zerosearch tune-simulator STAGE`: collect, judge, build, train, report, or `run` for all.

Every stage reads what the one before it left in `--output`, so each can be repeated alone; collect
and train go on where they were stopped. Progress goes to standard error, the object of `--json` to
standard output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from agents.evaluation.agents_by_name import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.llm.train_config import spec_from_text
from agents.simulator_tuning.build import build_pairs, read_pairs, write_dataset
from agents.simulator_tuning.judge import (
    JUDGES,
    agreement,
    judge_transcripts,
    read_judged,
    write_judged,
)
from zs_env.building import build_questions, build_writer
from zs_env.names import unknown_name
from zs_env.simulator.style import STYLES, SimulatorStyle
from zs_env.simulator.writer import WriterSampling
from zs_env.transcript_file import read_transcripts

_CONSOLE = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Tune a language model to write the pages of a search engine.

    Attributes:
        output: folder of all stages.
        questions: training questions: a JSON spec, a kind, or a data file.
        engine: the real engine to imitate: a JSON spec, a kind, or a passage file.
        agent: who searches, as in `zerosearch evaluate`.
        episodes: questions that it plays.
        page_documents: documents of every real page; more than a simulated page has, so that pages
            of either kind can be made from one.
        max_turns: actions of an episode.
        judge: whose verdicts decide: containment, outcome or model.
        judge_model: spec of the writer that judges, JSON; needed by the judge "model".
        exclude: data files whose questions must not be trained on: those of the evaluation.
        licences: of the passages and questions, for the card.
        style: how the simulator is asked, a name.
        num_documents: of a simulated page.
        num_words: about how long a document is.
        held_out: share of the questions kept for the report.
        model: language model to begin with: a folder or a name on the hub.
        epochs: passes over the pairs.
        learning_rate: peak of AdamW.
        batch_size: pairs of one optimizer step.
        micro_batch_size: of them computed at once.
        max_tokens: longer pairs are left out.
        lora_rank: of the adapters; 0 tunes every weight.
        save_steps: optimizer steps between checkpoints.
        seed: of everything.
        report_queries: held-out queries of each kind in the report.
        report_batch: pages written at once.
        temperature: of the pages in the report.
        dtype: of the model that writes them.
        json: print one JSON object to standard output.
    """

    output: Path = Path("runs/simulator")
    questions: str | None = None
    engine: str | None = None
    agent: str = "search-names"
    episodes: int = 1000
    page_documents: int = 15
    max_turns: int = 5
    judge: str = "containment"
    judge_model: str | None = None
    exclude: tuple[Path, ...] = ()
    licences: str = "not stated"
    style: str = "tuned"
    num_documents: int = 5
    num_words: int = 30
    held_out: float = 0.1
    model: str | None = None
    epochs: float = 1.0
    learning_rate: float = 1e-4
    batch_size: int = 16
    micro_batch_size: int = 4
    max_tokens: int = 1024
    lora_rank: int = 0
    save_steps: int = 50
    seed: int = 0
    report_queries: int = 200
    report_batch: int = 32
    temperature: float = 0.8
    dtype: str = "float32"
    json: bool = False

    def __post_init__(self) -> None:
        if self.judge not in JUDGES:
            raise unknown_name("judge", self.judge, JUDGES)
        if self.judge == "model" and self.judge_model is None:
            raise ValueError("the judge 'model' needs --judge-model, the spec of a writer")
        if self.style not in STYLES:
            raise unknown_name("style", self.style, STYLES)
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"--held-out is a share between 0 and 1, got {self.held_out}")
        if self.page_documents < self.num_documents:
            raise ValueError(
                f"--page-documents {self.page_documents} must be at least --num-documents "
                f"{self.num_documents}"
            )

    def simulator_style(self) -> SimulatorStyle:
        """The style, with the length of documents asked for."""
        return replace(STYLES[self.style], num_words=self.num_words)


def main(argv: Sequence[str]) -> int:
    """Run a stage, or all; returns the exit status."""
    stage, *rest = argv or ["--help"]
    if stage in ("-h", "--help"):
        _CONSOLE.print(
            f"usage: zerosearch tune-simulator {{{','.join([*STAGES, 'run'])}}} [FLAGS]\n"
            "Each takes all flags and reads those it needs: zerosearch tune-simulator run --help"
        )
        return 0
    if stage != "run" and stage not in STAGES:
        raise unknown_name("stage", stage, [*STAGES, "run"])
    config = tyro.cli(TuneConfig, args=rest, prog=f"zerosearch tune-simulator {stage}")
    _check_installed()
    for name in STAGES if stage == "run" else [stage]:
        _CONSOLE.print(f"[bold]{name}[/bold]")
        summary = STAGES[name](config)
        _CONSOLE.print(summary if isinstance(summary, Table) else json.dumps(summary, indent=2))
    if config.json and stage in ("report", "run"):
        print((config.output / "report" / "report.json").read_text(encoding="utf-8").strip())
    return 0


def _collect(config: TuneConfig) -> dict[str, Any]:
    """Play the agent on the real engine, keeping every page."""
    if config.questions is None or config.engine is None:
        raise ValueError("collecting needs --questions and --engine")
    agent = build_agent(config.agent)
    report = evaluate(
        agent,
        "ZeroSearch/File-v0",
        episodes=config.episodes,
        seed=config.seed,
        env_kwargs={
            "questions": spec_from_text(config.questions, role="questions"),
            "engine": spec_from_text(config.engine, role="engine"),
            "num_documents": config.page_documents,
            "max_turns": config.max_turns,
        },
        output=config.output / "collect",
        agent_name=config.agent,
        fingerprint=fingerprint(agent),
    )
    return {"episodes": report.num_episodes, "faults": report.num_faults, **report.costs}


def _judge(config: TuneConfig) -> dict[str, Any]:
    """Say of every document whether it is useful, and how far the judges agree."""
    writer = None if config.judge_model is None else build_writer(json.loads(config.judge_model))
    pages = list(judge_transcripts(_transcripts(config), writer))
    write_judged(config.output / "judged.jsonl", pages)
    return {"pages": len(pages), "agreement": agreement(pages)}


def _build(config: TuneConfig) -> dict[str, Any]:
    """Make pairs of prompt and page."""
    excluded = [
        question.text
        for path in config.exclude
        for question in _all(build_questions({"kind": "file", "path": str(path)}))
    ]
    judged = config.output / "judged.jsonl"
    if not judged.exists():
        raise FileNotFoundError(f"{judged} is missing; run the stage 'judge' first")
    pairs = build_pairs(
        read_judged(judged),
        config.simulator_style(),
        judge=config.judge,
        num_documents=config.num_documents,
        excluded=excluded,
    )
    if not pairs:
        raise ValueError(
            "no pair could be made: the pages hold no useful or no noisy document; collect more "
            "episodes or more documents a page"
        )
    made_of = {
        "engine": config.engine,
        "agent": config.agent,
        "questions": config.questions,
        "judge": config.judge,
        "left out": f"{len(excluded)} questions of {[path.name for path in config.exclude]}",
        "licences": config.licences,
    }
    return write_dataset(config.output / "data", pairs, held_out=config.held_out, made_of=made_of)


def _train(config: TuneConfig) -> dict[str, Any]:
    """Tune the model on the training pairs."""
    from agents.simulator_tuning.train import TuneSettings, tune

    settings = TuneSettings(
        model=_model(config),
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        micro_batch_size=config.micro_batch_size,
        max_tokens=config.max_tokens,
        lora_rank=config.lora_rank,
        save_steps=config.save_steps,
        seed=config.seed,
    )
    result = tune(
        settings,
        read_pairs(config.output / "data" / "train.jsonl"),
        config.output / "tuned",
        system=config.simulator_style().system,
        on_log=lambda step, steps, loss: _CONSOLE.print(
            f"step {step}/{steps}: {loss:.3f} nats a token", highlight=False
        ),
    )
    return asdict(result)


def _report(config: TuneConfig) -> Table:
    """Compare the model before and after with the real engine, on held-out queries."""
    from agents.simulator_tuning import report
    from zs_env.simulator.transformers_writer import TransformersWriter

    style = config.simulator_style()
    held_out = read_pairs(config.output / "data" / "held_out.jsonl")
    pairs = [
        pair
        for kind in ("useful", "noisy")
        for pair in [pair for pair in held_out if pair.kind == kind][: config.report_queries]
    ]
    sampling = WriterSampling(temperature=config.temperature, max_tokens=_room(config))
    pages = {"real engine": report.real_pages(pairs, style, num_documents=config.num_documents)}
    tuned = str(config.output / "tuned" / "model")
    for name, model in {"before": _model(config), "after": tuned}.items():
        writer = TransformersWriter(
            model, sampling=sampling, batch_size=config.report_batch, dtype=config.dtype
        )
        pages[name] = report.write_pages(
            writer,
            style,
            pairs,
            num_documents=config.num_documents,
            batch_size=config.report_batch,
            on_batch=lambda done, name=name: _CONSOLE.print(f"{name}: {done}/{len(pairs)} pages"),
        )
        del writer
    figures = {
        name: report.measure(part, num_documents=config.num_documents)
        for name, part in pages.items()
    }
    folder = config.output / "report"
    folder.mkdir(parents=True, exist_ok=True)
    values = {name.replace(" ", "_"): report.to_json(part) for name, part in figures.items()}
    values["queries"] = {"useful": sum(pair.kind == "useful" for pair in pairs)}  # type: ignore[dict-item]
    (folder / "report.json").write_text(json.dumps(values) + "\n", encoding="utf-8")
    report.draw(figures, folder / "report.png")
    shown = [*pairs[:6], *pairs[-6:]]
    samples = {name: [page for page in part if page.pair in shown] for name, part in pages.items()}
    (folder / "samples.html").write_text(report.samples_html(samples), encoding="utf-8")
    table = Table("", *figures, title=f"{len(pairs)} held-out pages, 95 % intervals")
    for metric, meaning in report.METRICS.items():
        table.add_row(meaning, *(str(part[metric]) for part in figures.values()))
    return table


STAGES: dict[str, Callable[[TuneConfig], dict[str, Any] | Table]] = {
    "collect": _collect,
    "judge": _judge,
    "build": _build,
    "train": _train,
    "report": _report,
}


def _check_installed() -> None:
    missing = [
        name
        for name in ("torch", "transformers", "accelerate", "datasets", "matplotlib")
        if find_spec(name) is None
    ]
    if missing:
        raise ValueError(
            f'tuning a simulator needs {", ".join(missing)}: pip install "zerosearch-gym[tune]"'
        )


def _model(config: TuneConfig) -> str:
    if config.model is None:
        raise ValueError("--model is missing: a folder or a name on the hub to begin with")
    return config.model


def _room(config: TuneConfig) -> int:
    # Four tokens a word leave room for names; what runs on beyond that is cut.
    return config.num_documents * config.num_words * 4


def _transcripts(config: TuneConfig) -> Iterator[Any]:
    path = config.output / "collect" / "transcripts.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run the stage 'collect' first")
    return read_transcripts(path)


def _all(source: Any) -> Iterator[Any]:
    return (source[number] for number in range(len(source)))
