"""The stages of tuning a simulator: collect, judge, build, train, report.

Each stage reads the files of the stage before it in `config.output`, so each can be repeated alone.
All stages except build resume where they were stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.evaluation.progress import ProgressBar
from agents.evaluation.settings import specs_from_flags
from agents.simulator_tuning.cached_generator import CachedTextGenerator
from agents.simulator_tuning.labels import agreement, label_transcripts, read_labeled_pages
from agents.simulator_tuning.pairs import (
    Pair,
    balance,
    build_pairs,
    is_held_out,
    read_pairs,
    substitute_answers,
    with_prompt,
    write_dataset,
)
from agents.simulator_tuning.released import RELEASED, load_released
from agents.simulator_tuning.tune_config import TuneConfig
from agents.specs import served_models, spec_from_text
from agents.storage.output_folder import atomic_path
from zs_env.config import build_engine, build_generator, build_questions
from zs_env.engines.retrieval.dense_index import load_encoder
from zs_env.questions.rows import write_rows
from zs_env.search.engine import SearchEngine
from zs_env.simulator.generators.base import (
    TextGenerator,
    TextSampling,
    as_generator,
)
from zs_env.simulator.prompts import PROMPT_SETS
from zs_env.transcripts.storage import read_transcripts

_TOKENS_PER_WORD = 4  # a high estimate, because names take many tokens
_MAX_GROUNDED_TEMPERATURE = 0.3
_CHECKED = ("prompted", "grounded")  # simulators of the model before tuning, with retries


def check_servers(config: TuneConfig, *stages: str) -> None:
    """Check the servers of the stages.

    Raises:
        ConnectionError: if one cannot be reached.
    """
    engines = {
        name: spec_from_text(text, role="engine", name=f"--{name}")
        for name, text in (("engine", config.engine), ("sources", config.sources or config.engine))
        if text is not None
    }
    generators = {
        name: spec_from_text(text, role="generator", name=f"--{name.replace('_', '-')}")
        for name in ("judge_model", "before", "after")
        if (text := getattr(config, name)) is not None
    }
    used = {
        "collect": ["engine"],
        "judge": ["judge_model"],
        "report": ["sources", "before", "after"],
    }
    specs = {**engines, **generators}
    served_models([specs.get(name) for stage in stages for name in used.get(stage, ())])


def collect(config: TuneConfig, bar: ProgressBar) -> dict[str, Any]:
    """Run the agent on the real engine and save every page."""
    if config.questions is None or config.engine is None:
        raise ValueError("the stage 'collect' needs --questions and --engine")
    agent = build_agent(config.agent)
    report = evaluate(
        agent,
        "ZeroSearch/File-v0",
        episodes=config.episodes,
        seed=config.seed,
        env_kwargs={
            **specs_from_flags(
                questions=config.questions, engine=config.engine, limits=config.prompt_limits()
            ),
            "num_documents": config.page_documents,
            "max_turns": config.max_turns,
        },
        output=config.output / "collect",
        fresh=config.fresh,
        agent_name=config.agent,
        fingerprint=fingerprint(agent),
        on_start=bar.start,
        on_episode=bar.episode,
    )
    return {"episodes": report.num_episodes, "failures": report.num_failures, **report.costs}


def judge(config: TuneConfig, bar: ProgressBar) -> dict[str, Any]:
    """Label every document as useful or noisy, and measure the agreement of the judges."""
    transcripts = _required(config.output / "collect" / "transcripts.jsonl", "collect")
    generator, cache = None, config.output / "judge_replies.jsonl"
    if config.judge_model is not None:
        spec = spec_from_text(config.judge_model, role="generator", name="--judge-model")
        built = as_generator(build_generator(spec))
        generator = CachedTextGenerator(built, cache, fresh=config.fresh)
    pages = []
    for page in label_transcripts(read_transcripts(transcripts), generator):
        pages.append(page)
        bar.count("judge, pages", len(pages), None)
    write_rows(config.output / "labels.jsonl", pages)
    # The next run asks the model again: a server may have another model by then.
    cache.unlink(missing_ok=True)
    return {"pages": len(pages), "agreement": agreement(pages)}


def build(config: TuneConfig, bar: ProgressBar) -> dict[str, Any]:
    """Build pairs of a prompt and a page."""
    excluded = []
    for path in config.exclude:
        questions = build_questions({"kind": "file", "path": str(path)})
        excluded += [questions[index].text for index in range(len(questions))]
    pairs = _pairs(config, excluded)
    if not pairs:
        raise ValueError(
            "no pair could be built, because no page has enough useful or noisy documents, got "
            f"min_useful={config.min_useful}; lower --min-useful, or collect more "
            "episodes or more documents per page"
        )
    made_of = {
        "released set": config.released and RELEASED[config.released],
        "engine": config.engine,
        "agent": config.agent,
        "questions": config.questions,
        "judge": config.judge,
        "maximum share of useful training pages with a substituted answer": (
            None if config.released else config.answer_substitution
        ),
        "excluded": f"{len(excluded)} questions of {[path.name for path in config.exclude]}",
        "licences": config.licences,
    }
    return write_dataset(config.output / "data", pairs, held_out=config.held_out, made_of=made_of)


def _pairs(config: TuneConfig, excluded: list[str]) -> list[Pair]:
    prompts = config.simulator_prompts()
    if config.released is not None:
        released = load_released(config.released, location=config.released_file)
        return balance([with_prompt(pair, prompts) for pair in released], excluded=excluded)
    pairs = build_pairs(
        read_labeled_pages(_required(config.output / "labels.jsonl", "judge")),
        prompts,
        judge=config.judge,
        num_documents=config.num_documents,
        min_useful=min(config.min_useful, config.num_documents),
        excluded=excluded,
    )
    held_out = [pair for pair in pairs if is_held_out(pair, config.held_out)]
    training = [pair for pair in pairs if not is_held_out(pair, config.held_out)]
    return held_out + substitute_answers(training, prompts, share=config.answer_substitution)


def train(config: TuneConfig, bar: ProgressBar) -> dict[str, Any]:
    """Tune the model on the training pairs."""
    from agents.simulator_tuning.train import tune

    return tune(
        config,
        read_pairs(config.output / "data" / "train.jsonl"),
        config.output / "tuned",
        on_log=lambda step, steps, loss: bar.update(
            step, f"{loss:.3f} nats per token", total=steps
        ),
    )


def report(config: TuneConfig, bar: ProgressBar) -> Table:
    """Compare simulators with the real engine, on held-out queries.

    "before" and "after" are the model before and after tuning, without retries. The model before
    tuning also writes the pages "prompted" and "grounded".
    """
    from agents.simulator_tuning import report as reports

    prompts = config.simulator_prompts()
    held_out = read_pairs(
        _required(config.output / "data" / "held_out.jsonl", "build"),
    )
    pairs = [
        pair
        for kind in ("useful", "noisy")
        for pair in [pair for pair in held_out if pair.kind == kind][: config.report_queries]
    ]
    sources = _sources(config)
    pages = {"real engine": reports.real_pages(pairs, prompts, num_documents=config.num_documents)}
    folder = config.output / "report"
    folder.mkdir(parents=True, exist_ok=True)
    caches: list[Path] = []
    for name in _compared(config, grounded=sources is not None):
        caches.append(folder / f"generated-{name}.jsonl")
        generator = CachedTextGenerator(
            _report_generator(config, name), caches[-1], fresh=config.fresh
        )
        of_name = PROMPT_SETS[name] if name in _CHECKED else prompts
        variants = {name: name in _CHECKED}
        if name == "after":
            variants["after, checked"] = True
        for variant, with_retries in variants.items():
            pages[variant] = reports.generate_pages(
                generator,
                replace(of_name, num_words=config.num_words),
                pairs,
                num_documents=config.num_documents,
                batch_size=config.report_batch,
                with_retries=with_retries,
                sources=sources if name == "grounded" else None,
                on_batch=lambda done, variant=variant: bar.count(
                    f"report, pages {variant}", done, len(pairs)
                ),
            )
        generator.close()
        del generator  # frees a local model before the next one is loaded
    if sources is not None:
        # A grounded document is checked against its own source, any other against many passages.
        pages = {
            name: part if name == "grounded" else reports.with_support(part, sources)
            for name, part in pages.items()
        }
    encoder = None if config.embedder is None else load_encoder(config.embedder)
    figures = {
        name: reports.measure(part, num_documents=config.num_documents, encoder=encoder)
        for name, part in pages.items()
    }
    values: dict[str, Any] = {
        name.replace(", ", "_").replace(" ", "_"): {key: asdict(one) for key, one in part.items()}
        for name, part in figures.items()
    }
    values["pages"] = dict(Counter(pair.kind for pair in pairs))
    with atomic_path(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(values) + "\n", encoding="utf-8")
    reports.plot(figures, folder / "report.png")
    shown = [*pairs[:6], *pairs[-6:]]
    samples = {name: [page for page in part if page.pair in shown] for name, part in pages.items()}
    with atomic_path(folder / "samples.html") as temporary:
        temporary.write_text(reports.samples_html(samples), encoding="utf-8")
    for cache in caches:
        # The next report asks the models again: a server may have another model by then.
        cache.unlink(missing_ok=True)
    table = Table("", *figures, title=f"{len(pairs)} held-out pages, 95 % intervals")
    for metric, meaning in reports.METRICS.items():
        if all(metric in part for part in figures.values()):
            table.add_row(meaning, *(str(part[metric]) for part in figures.values()))
    return table


def _sources(config: TuneConfig) -> SearchEngine | None:
    """Return the engine of the source passages; None if there is none."""
    spec = config.sources or config.engine
    if spec is None:
        return None
    specs = specs_from_flags(questions=config.questions, engine=spec)
    questions = build_questions(specs["questions"]) if "questions" in specs else []
    return build_engine(specs["engine"], questions)


def _compared(config: TuneConfig, *, grounded: bool) -> list[str]:
    """Return the names of the compared simulators; those without a tuned model if there is none."""
    tuned = config.after is not None or (config.output / "tuned" / "model").exists()
    return ["before", "prompted", *["grounded"] * grounded, *["after"] * tuned]


def _report_generator(config: TuneConfig, name: str) -> TextGenerator:
    """Return the model of a simulator, from its spec or loaded in this process."""
    sampling = TextSampling(
        temperature=config.temperature,
        frequency_penalty=config.frequency_penalty,
        max_tokens=config.num_documents * config.num_words * _TOKENS_PER_WORD,
    )
    if name == "grounded":
        # One document a text, whose names repeat those of its source.
        sampling = TextSampling(
            temperature=min(config.temperature, _MAX_GROUNDED_TEMPERATURE),
            max_tokens=config.num_words * _TOKENS_PER_WORD,
        )
    text = config.after if name == "after" else config.before
    if text is not None:
        flag = "--after" if name == "after" else "--before"
        spec = spec_from_text(text, role="generator", name=flag)
        return as_generator(build_generator({"sampling": asdict(sampling), **spec}))
    from zs_env.simulator.generators.local_transformers import TransformersTextGenerator

    tuned = str(config.output / "tuned" / "model")
    model = tuned if name == "after" else config.base_model()
    return TransformersTextGenerator(
        model, sampling=sampling, batch_size=config.report_batch, dtype=config.dtype
    )


def _required(path: Path, stage: str) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run the stage {stage!r} first")
    return path


STAGES: dict[str, Callable[[TuneConfig, ProgressBar], dict[str, Any] | Table]] = {
    "collect": collect,
    "judge": judge,
    "build": build,
    "train": train,
    "report": report,
}
