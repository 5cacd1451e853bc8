"""Search engines from a spec; a module behind a kind is imported when that kind is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zs_env.config.generators import build_generator
from zs_env.config.questions import build_world, world_of
from zs_env.config.spec import Spec, build_from_spec
from zs_env.noise import Schedule
from zs_env.questions.question import QuestionDataset
from zs_env.search.engine import SearchEngine
from zs_env.text.suggestions import check_names, make_named


def build_engine(spec: Spec, questions: QuestionDataset) -> SearchEngine:
    """Build an engine from its spec, whose kind is one of `ENGINE_KINDS`.

    Args:
        spec: kind and fields.
        questions: the environment's questions; the engines "world", "paragraphs" and "bm25" may
            search the documents that belong to them.
    """
    return build_from_spec("engine kind", ENGINE_KINDS, spec, questions)


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
    """Search a passage file or, without one, the world of the questions."""
    from zs_env.engines import BM25Engine

    if passages is not None:
        return BM25Engine(passages, index, k1=k1, b=b)
    world = world_of(questions)
    if world is None:
        raise ValueError("engine kind 'bm25' needs 'passages', a JSONL or Parquet file of passages")
    return BM25Engine.from_passages(world.passages(), k1=k1, b=b)


def _hybrid_engine(
    questions: QuestionDataset,
    *,
    engines: Sequence[Spec],
    weights: Sequence[float] | None = None,
    depth: int = 100,
) -> SearchEngine:
    from zs_env.engines import HybridEngine

    return HybridEngine([build_engine(spec, questions) for spec in engines], weights, depth=depth)


def _no_engine(questions: QuestionDataset) -> SearchEngine:
    """Return no documents for any query."""
    from zs_env.engines import ScriptedEngine

    return ScriptedEngine({})


def _mixture_engine(
    questions: QuestionDataset,
    *,
    engines: Sequence[Spec],
    weights: Sequence[float] | None = None,
    schedule: Mapping[str, Any] | None = None,
) -> SearchEngine:
    """Mix engines with fixed weights, or two engines with the fields of a `Schedule`."""
    from zs_env.engines import MixtureEngine

    check_names("field of a schedule", schedule or {}, Schedule.__slots__)
    built = [build_engine(spec, questions) for spec in engines]
    shares = None if schedule is None else Schedule(**schedule)
    return MixtureEngine(built, weights, schedule=shares)


def _simulator_engine(
    questions: QuestionDataset,
    *,
    generator: Any,
    prompts: str | Mapping[str, Any] = "prompted",
    retries: int = 2,
    retry_on: Sequence[str] | None = None,
) -> SearchEngine:
    """Use a language model; `prompts` is a name or the fields of `SimulatorPrompts`."""
    from zs_env.simulator import LanguageModelEngine, SimulatorPrompts

    return LanguageModelEngine(
        build_generator(generator),
        prompts
        if isinstance(prompts, str)
        else make_named("field of simulator prompts", SimulatorPrompts, prompts),
        retries=retries,
        retry_on=retry_on,
    )


def _metered_engine(
    questions: QuestionDataset,
    *,
    engine: Spec,
    prices: Mapping[str, Any] | None = None,
    budget: float | None = None,
    path: str | None = None,
) -> SearchEngine:
    from zs_env.engines import MeteredEngine
    from zs_env.search.prices import PriceTable

    return MeteredEngine(
        build_engine(engine, questions),
        prices=make_named("price", PriceTable, prices),
        budget=budget,
        path=path,
    )


def _cached_engine(
    questions: QuestionDataset,
    *,
    path: str | None = None,
    engine: Spec | None = None,
    mode: str = "live",
) -> SearchEngine:
    from zs_env.engines import CachedEngine

    inner = None if engine is None else build_engine(engine, questions)
    return CachedEngine(inner, path, mode=mode)  # type: ignore[arg-type]


ENGINE_KINDS: dict[str, str | Callable[..., SearchEngine]] = {
    "world": _world_engine,
    "paragraphs": _paragraphs_engine,
    "bm25": _bm25_engine,
    "dense": "zs_env.engines.retrieval.dense:DenseEngine",
    "hybrid": _hybrid_engine,
    "scripted": "zs_env.engines.scripted:ScriptedEngine",
    "none": _no_engine,
    "metered": _metered_engine,
    "mixture": _mixture_engine,
    "cache": _cached_engine,
    "simulator": _simulator_engine,
    "google": "zs_env.engines.google:GoogleEngine",
    "http": "zs_env.engines.http:HTTPEngine",
}
