"""Search engines and text generators from a spec.

A module behind a kind is imported when that kind is built.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from zs_env.config.questions import build_questions, build_world, world_of
from zs_env.config.spec import Spec, as_spec, build_from_spec, check_files, check_spec
from zs_env.noise import NOISE_KINDS, Schedule
from zs_env.questions.question import QuestionDataset
from zs_env.search.engine import SearchEngine
from zs_env.text.suggestions import check_names, make_named


def build_engine(spec: Spec | str, questions: QuestionDataset) -> SearchEngine:
    """Build an engine from its spec, whose kind is one of `ENGINE_KINDS`.

    The fields of a kind are the arguments of its class. Fields that hold an engine, a generator or
    settings are specs as well.

    Args:
        spec: kind and fields; or a text, which is read as on a command line.
        questions: the environment's questions; the engines "world", "paragraphs", "corpus" and
            "bm25" may use the documents that belong to them, and a simulator their answers.
    """
    converters = {
        "engine": lambda inner: build_engine(inner, questions),
        "sources": lambda inner: build_engine(inner, questions),
        "engines": lambda specs: [build_engine(inner, questions) for inner in _listed(specs)],
        "passages": _checked_passages,
        "generator": build_generator,
        "questions": _built_questions,
        "prices": _build_prices,
        "prompts": _build_prompts,
        "schedule": _build_schedule,
    }
    fields = as_spec(spec, "engine")
    check_spec("engine kind", ENGINE_KINDS, fields, questions)
    if fields["kind"] == "simulator":
        fields = {"questions": questions, **fields}
    return build_from_spec("engine kind", ENGINE_KINDS, fields, questions, converters=converters)


def check_engine(spec: Spec | str, *, generators: Collection[str] = ()) -> None:
    """Check kinds, fields and files of an engine's spec without building the engine.

    Args:
        spec: as for `build_engine`.
        generators: kinds of generators that the caller builds.

    Raises:
        ValueError: if a kind or a field is unknown or missing.
        FileNotFoundError: if a passage file does not exist.
    """
    _, fields = check_spec("engine kind", ENGINE_KINDS, as_spec(spec, "engine"), None)
    check_files("passages", fields.get("passages"))
    single = (fields.get(name) for name in ("engine", "retriever", "sources"))
    for inner in (*single, *(fields.get("engines") or ())):
        if isinstance(inner, Mapping | str):
            check_engine(inner, generators=generators)
    generator = as_spec(fields.get("generator"), "generator")
    if isinstance(generator, Mapping) and generator.get("kind") not in generators:
        check_spec("generator kind", GENERATOR_KINDS, generator)


def build_generator(spec: Any) -> Any:
    """Build a `zs_env.simulator.TextGenerator` from its spec; a generator is returned unchanged."""
    spec = as_spec(spec, "generator")
    if not isinstance(spec, Mapping):
        return spec
    converters = {"sampling": build_sampling, "limits": _build_limits}
    return build_from_spec("generator kind", GENERATOR_KINDS, spec, converters=converters)


def build_sampling(values: Mapping[str, Any] | None) -> Any:
    """Build a `zs_env.simulator.TextSampling` from its fields."""
    from zs_env.simulator import TextSampling

    return make_named("sampling setting", TextSampling, values)


def _build_limits(fields: Mapping[str, Any]) -> Any:
    from zs_env.simulator.generators.server import ServerLimits

    return make_named("limit", ServerLimits, fields)


def _world_engine(
    questions: QuestionDataset, *, seed: int | None = None, split: str = "train"
) -> SearchEngine:
    from zs_env.world import WorldEngine

    world = world_of(questions) if seed is None else build_world(seed, split)
    if world is None:
        raise ValueError("engine kind 'world' needs world questions or a 'seed'")
    return WorldEngine(world)


def _paragraphs_engine(questions: QuestionDataset) -> SearchEngine:
    from zs_env.engines import ParagraphEngine

    return ParagraphEngine(questions)


def _bm25_engine(
    questions: QuestionDataset,
    *,
    passages: str | None = None,
    index: str | None = None,
    k1: float = 1.2,
    b: float = 0.75,
) -> SearchEngine:
    """Search a passage file or, without one, the world of the questions and its pages."""
    from zs_env.engines import BM25Engine
    from zs_env.world.pages import full_texts

    if passages is not None:
        return BM25Engine(_checked_passages(passages), index, k1=k1, b=b)
    world = world_of(questions)
    if world is None:
        raise ValueError("engine kind 'bm25' needs 'passages', a JSONL or Parquet file of passages")
    snippets = world.passages()
    pages = full_texts(world, [row["text"] for row in snippets])
    rows = [{**row, "full_text": page} for row, page in zip(snippets, pages, strict=True)]
    return BM25Engine.from_passages(rows, k1=k1, b=b)


def _corpus_engine(
    questions: QuestionDataset,
    *,
    passages: str | None = None,
    index: str | None = None,
    retriever: Any = None,
    depth: int = 100,
) -> SearchEngine:
    """Control the quality of the pages of BM25 over a passage file, or of another retriever."""
    from zs_env.engines import BM25Engine, CorpusEngine

    if (passages is None) == (not retriever):
        raise ValueError(
            "engine kind 'corpus' needs either 'passages', a passage file, or 'retriever', the "
            "spec of a query-only engine such as {'kind': 'dense', ...}"
        )
    if retriever:
        ranked = build_engine(retriever, questions)
    else:
        ranked = BM25Engine(_checked_passages(passages), index)
    return CorpusEngine(ranked, questions, depth=depth)


def _listed(specs: Any) -> Sequence[Any]:
    """Return the specs of several engines; ValueError if they are no list."""
    if isinstance(specs, str) or not isinstance(specs, Sequence):
        raise ValueError(f"got engines={specs!r}, expected a list of specs")
    return specs


def _checked_passages(passages: Any) -> str | Path:
    """Return the path of a passage file; ValueError if it is no path."""
    if not isinstance(passages, str | os.PathLike):
        raise ValueError(
            f"got passages={passages!r} ({type(passages).__name__}), expected the path of one "
            "JSONL or Parquet file, or of a folder of .txt or .md files"
        )
    return passages if isinstance(passages, str) else Path(passages)


def _no_engine(questions: QuestionDataset) -> SearchEngine:
    """Return no documents for any query."""
    from zs_env.engines import ScriptedEngine

    engine = ScriptedEngine({})
    # A page without documents is useful and noisy alike, so runs with noise have a baseline.
    engine.supports_noise, engine.noise_kinds = True, NOISE_KINDS
    return engine


def _built_questions(questions: Any) -> QuestionDataset:
    return build_questions(questions) if isinstance(questions, Mapping | str) else questions


def _build_schedule(fields: Mapping[str, Any]) -> Schedule:
    check_names("field of a schedule", fields, Schedule.__slots__)
    return Schedule(**fields)


def _build_prices(fields: Mapping[str, Any]) -> Any:
    from zs_env.search.prices import PriceTable

    return make_named("price", PriceTable, fields)


def _build_prompts(name_or_fields: str | Mapping[str, Any]) -> Any:
    from zs_env.simulator import SimulatorPrompts

    if isinstance(name_or_fields, str):
        return name_or_fields
    return make_named("field of simulator prompts", SimulatorPrompts, name_or_fields)


GENERATOR_KINDS: dict[str, str] = {
    "server": "zs_env.simulator.generators.server:ServerTextGenerator",
    "transformers": "zs_env.simulator.generators.local_transformers:TransformersTextGenerator",
    "vllm": "zs_env.simulator.generators.local_vllm:VLLMTextGenerator",
}
ENGINE_KINDS: dict[str, str | Callable[..., SearchEngine]] = {
    "world": _world_engine,
    "paragraphs": _paragraphs_engine,
    "bm25": _bm25_engine,
    "corpus": _corpus_engine,
    "dense": "zs_env.engines.retrieval.dense:DenseEngine",
    "hybrid": "zs_env.engines.hybrid:HybridEngine",
    "scripted": "zs_env.engines.scripted:ScriptedEngine",
    "none": _no_engine,
    "metered": "zs_env.engines.budget.engine:MeteredEngine",
    "mixture": "zs_env.engines.mixture:MixtureEngine",
    "cache": "zs_env.engines.cache.engine:CachedEngine",
    "simulator": "zs_env.simulator.engine:LanguageModelEngine",
    "google": "zs_env.engines.google:GoogleEngine",
    "http": "zs_env.engines.http:HTTPEngine",
}
