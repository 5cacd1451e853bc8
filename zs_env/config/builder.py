"""Environments from JSON values: what the registered ids are made of.

A spec is a mapping with a `kind`, a row of the tables below, and that kind's fields. Where a spec
is expected a ready object will do as well, so `gymnasium.make(id, engine=my_engine)` works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from zs_env.config.names import check_names, keywords, make_named, unknown_name
from zs_env.env import ZeroSearchEnv
from zs_env.episode import Limits
from zs_env.noise import NoiseSchedule
from zs_env.questions.question import QuestionDataset
from zs_env.rewards import build_reward
from zs_env.search.types import SearchEngine
from zs_env.vector_env import ZeroSearchVectorEnv

Spec = Mapping[str, Any]
WORLD: Spec = {"kind": "world", "seed": 0, "split": "train"}


def make_env(
    questions: QuestionDataset | Spec = WORLD,
    engine: SearchEngine | Spec | None = None,
    **settings: Any,
) -> ZeroSearchEnv:
    """Build an environment; `settings` are those of `ZeroSearchEnv`, as JSON values.

    Args:
        questions: spec or source of the questions.
        engine: spec of the engine or the engine. None takes the one that comes with world
            questions, and is an error for others.
        settings: `reward` may be a preset's name or a mapping, `limits` a mapping.

    Raises:
        ValueError: if a kind, a field or a value is wrong; the message says what would do.
    """
    source, searcher, settings = _parts(ZeroSearchEnv, questions, engine, settings)
    return ZeroSearchEnv(source, searcher, **settings)


def make_vector_env(
    num_envs: int = 1,
    questions: QuestionDataset | Spec = WORLD,
    engine: SearchEngine | Spec | None = None,
    **settings: Any,
) -> ZeroSearchVectorEnv:
    """Build a vector environment; see `make_env`."""
    source, searcher, settings = _parts(ZeroSearchVectorEnv, questions, engine, settings)
    return ZeroSearchVectorEnv(num_envs, source, searcher, **settings)


def build_questions(spec: Spec) -> QuestionDataset:
    """Build a question source from its spec, whose kind is one of `QUESTION_KINDS`."""
    return _build("question kind", QUESTION_KINDS, spec)


def build_engine(spec: Spec, questions: QuestionDataset) -> SearchEngine:
    """Build an engine from its spec, whose kind is one of `ENGINE_KINDS`.

    Args:
        spec: kind and fields.
        questions: what will be asked; some engines come with them.
    """
    return _build("engine kind", ENGINE_KINDS, spec, questions)


def _parts(
    env_class: type,
    questions: QuestionDataset | Spec,
    engine: SearchEngine | Spec | None,
    settings: Mapping[str, Any],
) -> tuple[QuestionDataset, SearchEngine, dict[str, Any]]:
    settings = dict(settings)
    check_names("setting", settings, env_class)
    source = build_questions(questions) if isinstance(questions, Mapping) else questions
    if engine is None:
        engine = _own_engine(source)
    if isinstance(engine, Mapping):
        engine = build_engine(engine, source)
        settings.setdefault("owns_engine", True)
    if isinstance(settings.get("reward"), str | Mapping):
        settings["reward"] = build_reward(settings["reward"])
    if isinstance(settings.get("limits"), Mapping):
        settings["limits"] = make_named("limit", Limits, settings["limits"])
    return source, engine, settings


def _own_engine(questions: QuestionDataset) -> Spec:
    if _world_of(questions) is not None:
        return {"kind": "world"}
    raise ValueError(
        "these questions bring no documents; pass an engine, such as "
        "{'kind': 'bm25', 'passages': FILE} over a passage file, {'kind': 'paragraphs'} for "
        "questions with paragraphs, or {'kind': 'none'}"
    )


def _build(what: str, table: Mapping[str, Callable[..., Any]], spec: Spec, *context: Any) -> Any:
    """Look a spec's kind up and call its builder with the spec's fields."""
    if "kind" not in spec:
        raise ValueError(f"a spec needs a 'kind', one of {sorted(table)}; got {dict(spec)!r}")
    kind = spec["kind"]
    if kind not in table:
        raise unknown_name(what, kind, table)
    fields = {name: value for name, value in spec.items() if name != "kind"}
    check_names(f"field of {what} {kind!r}", fields, table[kind])
    for name, parameter in keywords(table[kind]).items():
        if parameter.default is parameter.empty and fields.get(name) is None:
            raise ValueError(f"{what} {kind!r} needs {name!r}, got {dict(spec)!r}")
    return table[kind](*context, **fields)


# Questions. The modules behind the kinds are imported when a kind is asked for.


@lru_cache(maxsize=8)
def _world(seed: int, split: str) -> Any:
    from zs_env.world import World

    return World(seed, split)  # type: ignore[arg-type]


def _world_questions(
    *, seed: int = 0, split: str = "train", structures: Any = None, questions_seed: int = 0
) -> QuestionDataset:
    from zs_env.world import WorldQuestions

    questions: Any = WorldQuestions(_world(seed, split), structures, seed=questions_seed)
    return questions


def _file_questions(*, path: str | Sequence[str]) -> QuestionDataset:
    """Of one file, or of several that take turns."""
    from zs_env.questions import load_questions_files

    return load_questions_files([path] if isinstance(path, str) else path)


def _hub_questions(
    *, name: str, split: str | None = None, location: str | None = None
) -> QuestionDataset:
    from zs_env.questions import load_hub_questions

    return load_hub_questions(name, split=split, location=location)


def _subset_questions(*, of: Spec, ids: Sequence[str]) -> QuestionDataset:
    """Those of another spec that have the given ids, in the order of the ids."""
    from zs_env.questions import questions_by_id

    return questions_by_id(build_questions(of), ids)


QUESTION_KINDS: dict[str, Callable[..., QuestionDataset]] = {
    "world": _world_questions,
    "file": _file_questions,
    "hub": _hub_questions,
    "subset": _subset_questions,
}


# Engines.


def _world_of(questions: QuestionDataset) -> Any:
    """Return the world that the questions are about; None where there is none."""
    from zs_env.world import WorldQuestions

    return questions.world if isinstance(questions, WorldQuestions) else None


def _world_engine(
    questions: QuestionDataset, *, seed: int | None = None, split: str = "train"
) -> SearchEngine:
    from zs_env.world import WorldEngine

    world = _world_of(questions) if seed is None else _world(seed, split)
    if world is None:
        raise ValueError("engine kind 'world' needs world questions, or a 'seed' of its own")
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
    """Over a passage file, or over the world that the questions are about."""
    from zs_env.engines import BM25Engine

    if passages is not None:
        return BM25Engine(passages, index, k1=k1, b=b)
    world = _world_of(questions)
    if world is None:
        raise ValueError("engine kind 'bm25' needs 'passages', a JSONL or Parquet file of passages")
    return BM25Engine.from_passages(world.passages(), k1=k1, b=b)


def _dense_engine(
    questions: QuestionDataset,
    *,
    passages: str,
    index: str | None = None,
    model: str | None = None,
    query_prefix: str = "",
    passage_prefix: str = "",
    factory: str = "Flat",
    device: str = "cpu",
) -> SearchEngine:
    from zs_env.engines.retrieval.dense import DEFAULT_MODEL, DenseEngine

    return DenseEngine(
        passages,
        index,
        model=model or DEFAULT_MODEL,
        query_prefix=query_prefix,
        passage_prefix=passage_prefix,
        factory=factory,
        device=device,
    )


def _hybrid_engine(
    questions: QuestionDataset,
    *,
    engines: Sequence[Spec],
    weights: Sequence[float] | None = None,
    depth: int = 100,
) -> SearchEngine:
    from zs_env.engines import HybridEngine

    return HybridEngine([build_engine(spec, questions) for spec in engines], weights, depth=depth)


def _scripted_engine(
    questions: QuestionDataset, *, script: Mapping[str, Any], default: Sequence[Any] = ()
) -> SearchEngine:
    from zs_env.engines import ScriptedEngine

    return ScriptedEngine(script, default=default)


def _no_engine(questions: QuestionDataset) -> SearchEngine:
    """Finds nothing, whatever is asked."""
    return _scripted_engine(questions, script={})


def _mixture_engine(
    questions: QuestionDataset,
    *,
    engines: Sequence[Spec],
    weights: Sequence[float] | None = None,
    schedule: Mapping[str, Any] | None = None,
) -> SearchEngine:
    """Of fixed weights, or from one engine to another by the fields of a `NoiseSchedule`."""
    from zs_env.engines import MixtureEngine

    for name in schedule or {}:
        if name not in NoiseSchedule.__slots__:
            raise unknown_name("field of a schedule", name, NoiseSchedule.__slots__)
    built = [build_engine(spec, questions) for spec in engines]
    shares = None if schedule is None else NoiseSchedule(**schedule)
    return MixtureEngine(built, weights, schedule=shares)


def _google_engine(
    questions: QuestionDataset, *, country: str = "us", language: str = "en", concurrency: int = 8
) -> SearchEngine:
    from zs_env.engines import GoogleEngine

    return GoogleEngine(country=country, language=language, concurrency=concurrency)


def _http_engine(
    questions: QuestionDataset,
    *,
    url: str,
    timeout_s: float = 20.0,
    max_tries: int = 3,
) -> SearchEngine:
    from zs_env.engines import HTTPEngine

    return HTTPEngine(url, timeout_s=timeout_s, max_tries=max_tries)


def _simulator_engine(
    questions: QuestionDataset,
    *,
    writer: Any,
    style: str | Mapping[str, Any] = "prompted",
    retries: int = 2,
    retry_on: Sequence[str] | None = None,
) -> SearchEngine:
    """A language model that writes pages; `style` names one, or holds the fields of another."""
    from zs_env.simulator import LanguageModelEngine, SimulatorPrompts

    return LanguageModelEngine(
        build_writer(writer),
        style
        if isinstance(style, str)
        else make_named("field of a style", SimulatorPrompts, style),
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
    from zs_env.search.prices import Prices

    return MeteredEngine(
        build_engine(engine, questions),
        prices=make_named("price", Prices, prices),
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


ENGINE_KINDS: dict[str, Callable[..., SearchEngine]] = {
    "world": _world_engine,
    "paragraphs": _paragraphs_engine,
    "bm25": _bm25_engine,
    "dense": _dense_engine,
    "hybrid": _hybrid_engine,
    "scripted": _scripted_engine,
    "none": _no_engine,
    "metered": _metered_engine,
    "mixture": _mixture_engine,
    "cache": _cached_engine,
    "simulator": _simulator_engine,
    "google": _google_engine,
    "http": _http_engine,
}


# Writers: the language models behind simulators.


def build_writer(spec: Any) -> Any:
    """Build a `zs_env.simulator.TextGenerator` from its spec, whose kind is one of `WRITER_KINDS`.

    A ready writer is returned as it is.
    """
    if not isinstance(spec, Mapping):
        return spec
    return _build("writer kind", WRITER_KINDS, spec)


def writer_sampling(values: Mapping[str, Any] | None) -> Any:
    """Build a `zs_env.simulator.TextSampling` from its fields."""
    from zs_env.simulator import TextSampling

    return make_named("sampling setting", TextSampling, values)


def _server_writer(
    *,
    servers: str | Sequence[str],
    model: str | None = None,
    sampling: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Any:
    from zs_env.simulator.generators.server import ServerLimits, ServerTextGenerator

    return ServerTextGenerator(
        servers,
        model,
        sampling=writer_sampling(sampling),
        limits=make_named("limit", ServerLimits, limits),
        extra=dict(extra or {}),
    )


def _transformers_writer(
    *,
    model: str,
    sampling: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    dtype: str = "float32",
    device: str = "cpu",
) -> Any:
    try:
        from zs_env.simulator.generators.local_transformers import TransformersTextGenerator
    except ImportError as error:
        raise ImportError(
            "writer kind 'transformers' needs torch and transformers; "
            'pip install "zerosearch-gym[train]"'
        ) from error
    return TransformersTextGenerator(
        model, sampling=writer_sampling(sampling), batch_size=batch_size, dtype=dtype, device=device
    )


def _vllm_writer(
    *,
    model: str,
    sampling: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    try:
        from zs_env.simulator.generators.local_vllm import VLLMTextGenerator
    except ImportError as error:
        raise ImportError("writer kind 'vllm' needs vLLM; pip install vllm") from error
    return VLLMTextGenerator(model, sampling=writer_sampling(sampling), **dict(settings or {}))


WRITER_KINDS: dict[str, Callable[..., Any]] = {
    "server": _server_writer,
    "transformers": _transformers_writer,
    "vllm": _vllm_writer,
}
