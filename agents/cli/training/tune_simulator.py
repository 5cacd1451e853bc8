"""`zerosearch tune-simulator STAGE`: collect, judge, build, train, report, or `run` for all.

Every stage reads what the one before it left in `--output`, so each can be repeated alone; all but
build go on where they were stopped. Progress goes to standard error, the object of
`--json` to standard output.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.simulator_tuning.build import (
    balance,
    build_pairs,
    is_held_out,
    read_pairs,
    with_prompt,
    write_dataset,
)
from agents.simulator_tuning.cached_generator import CachedTextGenerator
from agents.simulator_tuning.exchange import with_exchanged_answers
from agents.simulator_tuning.judge import agreement, judge_transcripts, read_judged
from agents.simulator_tuning.released import RELEASED, load_released
from agents.simulator_tuning.tune_config import TuneConfig
from agents.specs import spec_from_text
from agents.storage.folder_lock import folder_lock
from zs_env.config import build_generator, build_questions
from zs_env.engines.retrieval.dense_index import load_encoder
from zs_env.questions.rows import write_rows
from zs_env.simulator.generators.base import TextGenerator, TextSampling
from zs_env.text.suggestions import unknown_name
from zs_env.transcripts.storage import read_transcripts

_CONSOLE = Console(stderr=True)


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
    with folder_lock(config.output):
        for name in _stages(config) if stage == "run" else [stage]:
            _CONSOLE.print(f"[bold]{name}[/bold]")
            summary = STAGES[name](config)
            _CONSOLE.print(summary if isinstance(summary, Table) else json.dumps(summary, indent=2))
    if config.json and stage in ("report", "run"):
        print((config.output / "report" / "report.json").read_text(encoding="utf-8").strip())
    return 0


def _stages(config: TuneConfig) -> list[str]:
    """All of them, but for those that a released set makes needless."""
    return [name for name in STAGES if not config.released or name not in ("collect", "judge")]


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
    return {"episodes": report.num_episodes, "failures": report.num_failures, **report.costs}


def _judge(config: TuneConfig) -> dict[str, Any]:
    """Say of every document whether it is useful, and how far the judges agree."""
    generator, said = None, config.output / "verdicts.jsonl"
    if config.judge_model is not None:
        spec = spec_from_text(config.judge_model, role="generator", flag="judge-model")
        generator = CachedTextGenerator(build_generator(spec), said)
    pages = list(judge_transcripts(_transcripts(config), generator))
    write_rows(config.output / "judged.jsonl", pages)
    # What is judged anew is asked anew: the model behind a server may be another.
    said.unlink(missing_ok=True)
    return {"pages": len(pages), "agreement": agreement(pages)}


def _build(config: TuneConfig) -> dict[str, Any]:
    """Make pairs of prompt and page."""
    excluded = [
        question.text
        for path in config.exclude
        for question in _all(build_questions({"kind": "file", "path": str(path)}))
    ]
    judged = config.output / "judged.jsonl"
    if config.released is not None:
        released = load_released(config.released, location=config.released_file)
        pairs = balance(
            [with_prompt(pair, config.simulator_prompts()) for pair in released], excluded=excluded
        )
    elif not judged.exists():
        raise FileNotFoundError(f"{judged} is missing; run the stage 'judge' first")
    else:
        pairs = build_pairs(
            read_judged(judged),
            config.simulator_prompts(),
            judge=config.judge,
            num_documents=config.num_documents,
            min_useful=min(config.min_useful, config.num_documents),
            excluded=excluded,
        )
        kept = [pair for pair in pairs if is_held_out(pair, config.held_out)]
        training = [pair for pair in pairs if not is_held_out(pair, config.held_out)]
        prompts = config.simulator_prompts()
        pairs = kept + with_exchanged_answers(training, prompts, share=config.exchanged)
    if not pairs:
        raise ValueError(
            "no pair could be made: the pages hold no useful or no noisy document; collect more "
            "episodes or more documents a page"
        )
    made_of = {
        "released set": config.released and RELEASED[config.released],
        "engine": config.engine,
        "agent": config.agent,
        "questions": config.questions,
        "judge": config.judge,
        "useful training pages whose answer was exchanged for another question's, at the most": (
            None if config.released else config.exchanged
        ),
        "left out": f"{len(excluded)} questions of {[path.name for path in config.exclude]}",
        "licences": config.licences,
    }
    return write_dataset(config.output / "data", pairs, held_out=config.held_out, made_of=made_of)


def _train(config: TuneConfig) -> dict[str, Any]:
    """Tune the model on the training pairs."""
    from agents.simulator_tuning.train import tune

    result = tune(
        _model(config),
        config,
        read_pairs(config.output / "data" / "train.jsonl"),
        config.output / "tuned",
        system=config.simulator_prompts().system,
        on_log=lambda step, steps, loss: _CONSOLE.print(
            f"step {step}/{steps}: {loss:.3f} nats a token", highlight=False
        ),
    )
    return asdict(result)


def _report(config: TuneConfig) -> Table:
    """Compare the model before and after with the real engine, on held-out queries."""
    from agents.simulator_tuning import report

    prompts = config.simulator_prompts()
    held_out = read_pairs(config.output / "data" / "held_out.jsonl")
    pairs = [
        pair
        for kind in ("useful", "noisy")
        for pair in [pair for pair in held_out if pair.kind == kind][: config.report_queries]
    ]
    pages = {"real engine": report.real_pages(pairs, prompts, num_documents=config.num_documents)}
    folder = config.output / "report"
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: folder / f"written-{name}.jsonl" for name in ("before", "after")}
    for name, path in kept.items():
        generator = CachedTextGenerator(_report_generator(config, name), path)
        ways = {name: report.write_pages}
        if name == "after":
            ways["after, checked"] = report.checked_pages
        for way, write in ways.items():
            pages[way] = write(
                generator,
                prompts,
                pairs,
                num_documents=config.num_documents,
                batch_size=config.report_batch,
                on_batch=lambda done, way=way: _CONSOLE.print(f"{way}: {done}/{len(pairs)} pages"),
            )
        if callable(close := getattr(generator, "close", None)):
            close()
        del generator
    encoder = None if config.embedder is None else load_encoder(config.embedder)
    figures = {
        name: report.measure(part, num_documents=config.num_documents, encoder=encoder)
        for name, part in pages.items()
    }
    values: dict[str, Any] = {
        name.replace(", ", "_").replace(" ", "_"): report.to_json(part)
        for name, part in figures.items()
    }
    values["pages"] = dict(Counter(pair.kind for pair in pairs))
    (folder / "report.json").write_text(json.dumps(values) + "\n", encoding="utf-8")
    report.draw(figures, folder / "report.png")
    shown = [*pairs[:6], *pairs[-6:]]
    samples = {name: [page for page in part if page.pair in shown] for name, part in pages.items()}
    (folder / "samples.html").write_text(report.samples_html(samples), encoding="utf-8")
    for path in kept.values():
        # A report that ended is made anew: the model behind a server may be another.
        path.unlink(missing_ok=True)
    table = Table("", *figures, title=f"{len(pairs)} held-out pages, 95 % intervals")
    for metric, meaning in report.METRICS.items():
        if all(metric in part for part in figures.values()):
            table.add_row(meaning, *(str(part[metric]) for part in figures.values()))
    return table


def _report_generator(config: TuneConfig, name: str) -> TextGenerator:
    """The model before or after tuning, as a server that has it or loaded here."""
    sampling = TextSampling(
        temperature=config.temperature,
        frequency_penalty=config.frequency_penalty,
        max_tokens=_room(config),
    )
    spec = config.before if name == "before" else config.after
    if spec is not None:
        wanted = spec_from_text(spec, role="generator", flag=name)
        return build_generator({"sampling": asdict(sampling), **wanted})
    from zs_env.simulator.generators.local_transformers import TransformersTextGenerator

    tuned = str(config.output / "tuned" / "model")
    model = _model(config) if name == "before" else tuned
    return TransformersTextGenerator(
        model, sampling=sampling, batch_size=config.report_batch, dtype=config.dtype
    )


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
