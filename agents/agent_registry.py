"""Builds agents from their names on the command line."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from agents import baselines
from agents.agent import Agent
from agents.agent_labels import split_label
from agents.prompted.methods import METHODS
from agents.prompted.prompted_agent import EXAMPLE, build_prompted_agent
from agents.specs import served_models, spec_from_text
from zs_env.config.spec import import_named
from zs_env.text.paths import expand_home, local_path
from zs_env.text.suggestions import check_names, unknown_name

BASELINES: dict[str, Callable[[], Agent]] = {
    "random": baselines.RandomWords,
    "answer-at-once": baselines.AnswerAtOnce,
    "search-once": baselines.SearchOnce,
    "quote-page": baselines.QuotePage,
    "search-names": baselines.SearchEachName,
    "follow-the-hops": baselines.FollowTheHops,
}


def build_agent(name: str, *, temperature: float = 0.0, seed: int = 0) -> Agent:
    """Build the agent of a name.

    Args:
        name: a key of `BASELINES`; "module:Class", where the class is called without arguments
            and may be in the working directory; a folder of `zerosearch train-sb3`; a language
            model: "tiny" (the policy in this package), a folder, a .gguf file, or OWNER/NAME on
            the Hugging Face hub, which plays in float32 on a GPU if there is one; the same as JSON
            with a dtype or a device, {"kind": "policy", "policy": "tiny", "dtype": "bfloat16",
            "device": "cpu"}; or a prompted agent as JSON, see `build_prompted_agent`. Each may
            follow a label, as in "LABEL=tiny".
        temperature: of a language model; 0 decodes greedily. A prompted agent uses the
            temperature of its generator.
        seed: of the sampling; a prompted agent adds its own `seed`.

    Raises:
        ValueError: if the name has none of these forms.
    """
    check_agent_name(name)
    name = expand_home(split_label(name)[1])
    if name.lstrip().startswith("{"):
        spec = spec_from_text(name, role="agent")
        if spec["kind"] == "policy":
            return _policy_agent(temperature=temperature, seed=seed, **_policy_settings(spec))
        return build_prompted_agent(spec, seed=seed)
    if name in BASELINES:
        return BASELINES[name]()
    if (Path(name) / "sb3.json").exists():
        with _needs_extra(name, "was trained with stable-baselines3", "sb3"):
            from agents.sb3.training import ChoiceAgent
        return ChoiceAgent.load(name)
    if _is_policy(name):
        return _policy_agent(name, temperature=temperature, seed=seed)
    return _imported_agent(name)


def check_agent_name(name: str) -> None:
    """Check the form of an agent's name, without building the agent.

    Of JSON, the kind is checked, and the fields of a policy.

    Raises:
        ValueError: if the form is unknown.
    """
    _, name = split_label(name)
    if not name.strip():
        raise ValueError("an agent needs a name, got an empty one")
    if name in METHODS:
        raise ValueError(
            f"agent {name!r} needs a language model to prompt; write it as JSON, such as "
            + EXAMPLE.replace('"rag"', f'"{name}"')
        )
    if name.lstrip().startswith("{"):
        spec = spec_from_text(name, role="agent")
        check_names("agent kind", [spec["kind"]], ["policy", *METHODS])
        if spec["kind"] == "policy":
            _policy_settings(spec)
    elif not (name in BASELINES or _is_policy(name) or ":" in name):
        raise unknown_name("agent", name, [*BASELINES, "tiny", "module:Class", "FOLDER", *METHODS])


def check_agents(names: Iterable[str]) -> None:
    """Check names as `check_agent_name` does, and the servers of prompted agents.

    Raises:
        ValueError: if the form of a name is unknown.
        ConnectionError: if none of an agent's servers can be reached.
    """
    for name in names:
        check_agent_name(name)
        _, name = split_label(name)
        if name.lstrip().startswith("{"):
            served_models(spec_from_text(name, role="agent"))


def fingerprint(agent: Agent) -> str:
    """Return the agent's fingerprint; by default a digest of its class and source file."""
    own = getattr(agent, "fingerprint", None)
    if own is not None:
        return str(own)
    source = inspect.getsourcefile(type(agent))
    content = Path(source).read_bytes() if source else b""
    return blake2b(type(agent).__qualname__.encode() + content, digest_size=8).hexdigest()


def _is_policy(name: str) -> bool:
    exists = os.path.exists(local_path(name))
    return name == "tiny" or exists or ("/" in name and ":" not in name)


def _policy_settings(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of the spec of a policy."""
    fields = {name: value for name, value in spec.items() if name != "kind"}
    check_names("field of agent kind 'policy'", fields, ("policy", "dtype", "device"))
    for name, value in {"policy": None, **fields}.items():
        if not isinstance(value, str):
            raise ValueError(
                f"agent kind 'policy' got {name}={value!r}, expected a text, as in "
                '{"kind": "policy", "policy": "runs/train", "dtype": "bfloat16"}'
            )
    return fields


def _policy_agent(policy: str, *, temperature: float, seed: int, **settings: str) -> Agent:
    with _needs_extra(policy, "is a language model", "train"):
        from agents.llm.generators.sampling import Sampling
        from agents.llm.rollout.agent import PolicyAgent
    sampling = Sampling(temperature=temperature)
    return PolicyAgent.load(policy, sampling=sampling, seed=seed, **settings)


@contextmanager
def _needs_extra(name: str, about: str, extra: str) -> Iterator[None]:
    """Convert the error of a missing package into one that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "transformers", "safetensors", "stable_baselines3"):
            raise
        raise ValueError(
            f"agent {name!r} {about}, and {error.name} is not installed; "
            f'run: pip install "zerosearch-gym[{extra}]"'
        ) from error


def _imported_agent(name: str) -> Agent:
    build = import_named("agent", name)
    agent = build()
    if not callable(getattr(agent, "act", None)):
        raise ValueError(f"agent {name!r} has no method act(observation) -> str; add one")
    return agent
