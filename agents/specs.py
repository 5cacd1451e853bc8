"""Reads specs of questions, engines, generators and agents from a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from zs_env.config import build_generator
from zs_env.config.spec import Role, as_spec, import_local, spec_from_text
from zs_env.engines.retrieval.passage_file import file_fingerprint
from zs_env.search.http_client import base_urls
from zs_env.search.proxy import check_connection
from zs_env.text.paths import local_path

# By kind.
_FILE_FIELDS = {"file": "path", "bm25": "passages", "corpus": "passages", "dense": "passages"}
_GOOGLE = "https://serpapi.com"
_ROLES: dict[str, Role] = {
    **dict.fromkeys(("questions", "of"), "questions"),
    **dict.fromkeys(("engine", "retriever", "sources"), "engine"),
}


def held_out_questions(questions: Mapping[str, Any], eval_questions: str | None) -> dict[str, Any]:
    """Return the spec of the questions to evaluate on.

    These are `eval_questions`, the value of --eval-questions, or the held-out split of a world of
    training questions.

    Raises:
        ValueError: if there are none.
    """
    if eval_questions is not None:
        return spec_from_text(eval_questions, role="questions", name="--eval-questions")
    if questions["kind"] != "world":
        raise ValueError(
            f"questions of kind {questions['kind']!r} have no held-out split; name the questions "
            "to evaluate on with --eval-questions"
        )
    return {**questions, "split": "heldout"}


def env_spec(env_id: str) -> EnvSpec:
    """Return the registration of an id, optionally with the module that registers it ("module:id").

    Raises:
        gymnasium.error.NameNotFound: if the id is unknown.
        ValueError: if there is no such module.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_local("environment", env_id, module)
    return gymnasium.spec(name)


def default_spec(env_id: str, role: Role) -> dict[str, Any] | None:
    """Return the spec of an id's own questions or engine; None if the id has none.

    Raises:
        ValueError: if they are an object, which has no spec.
    """
    value = as_spec(env_spec(env_id).kwargs.get(role), role)
    if value is None:
        return None
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(
        f"the {role} of {env_id!r} are registered as an object, {type(value).__name__}; expected a "
        f"spec: register one, or pass --{role}"
    )


def by_content(specs: Any) -> Any:
    """Return specs in which the content of each data file stands in place of its path.

    Equal results belong to equal data, wherever its files are. The ids of questions without an id
    begin with the name of their file, so a question file also keeps its name.

    Args:
        specs: JSON values, which may be nested.
    """

    def identify(spec: Mapping[str, Any]) -> Mapping[str, Any]:
        spec = {
            name: as_spec(value, _ROLES[name]) if name in _ROLES else value
            for name, value in spec.items()
            if name != "index"  # where an index is stored
        }
        kind = spec.get("kind")
        field = _FILE_FIELDS.get(kind) if isinstance(kind, str) else None
        if field is None or not spec.get(field):
            return spec
        named = spec[field]
        paths = named if isinstance(named, list | tuple) else [named]
        if not all(isinstance(path, str | os.PathLike) for path in paths):
            return spec  # what reads the files reports the wrong value
        return {**spec, field: [_content(local_path(path), kind == "file") for path in paths]}

    return rewritten(specs, identify)


def _content(path: Path, is_named: bool) -> str:
    if not path.exists():
        return str(path)  # what reads it reports a missing file
    name = f"{path.name}:" if is_named else ""
    return f"{name}{file_fingerprint(path)}"


def served_models(specs: Any) -> dict[str, list[str]]:
    """Return the identities of the models behind the servers that specs name, by their URLs.

    Every command that uses servers calls this before anything that takes long. Pages in the file of
    a cache need no server: servers behind such a cache are not asked, and those behind an empty one
    are only checked.

    Args:
        specs: JSON values, which may be nested; also the arguments of an environment.

    Raises:
        ConnectionError: if none of a generator's servers, or an engine's server, can be reached.
    """
    found: dict[str, list[str]] = {}

    def collect(spec: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = spec.get("kind")
        if kind == "cache":
            path = spec.get("path")
            if spec.get("mode") != "replay" and not (path and local_path(path).exists()):
                served_models(spec.get("engine"))
            return {}
        url = spec.get("base_url") or _GOOGLE if kind == "google" else spec.get("url")
        if kind in ("http", "google") and isinstance(url, str):
            check_connection(url)
        if kind == "vllm-server":  # needs all of its servers
            for url in base_urls(spec.get("servers") or ()):
                check_connection(url)
        if kind == "server" and "servers" in spec:
            named = {name: spec[name] for name in ("kind", "servers", "model") if name in spec}
            with closing(build_generator(named)) as generator:
                found[", ".join(generator.urls)] = generator.served_models()
        return spec

    rewritten(specs, collect)
    return found


def rewritten(spec: Any, change: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Return a spec in which every mapping is replaced by `change` of it, outer mappings first.

    If a replacement is a mapping too, the mappings inside it are replaced next.
    """
    if isinstance(spec, Mapping):
        spec = change(spec)
    if isinstance(spec, Mapping):
        return {name: rewritten(value, change) for name, value in spec.items()}
    if isinstance(spec, list | tuple):
        return [rewritten(one, change) for one in spec]
    return spec
