"""Labels of agents: the short names in tables, reports and folders.

`LABEL=AGENT` sets the label of an agent on a command line. Without it, an agent in JSON is called
after its kind and its model, such as "rag · Qwen2.5-7B-Instruct", and any other agent by its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.specs import spec_from_text

_LABEL = re.compile(r"\s*([^={}/\\]*?)\s*=\s*", re.DOTALL)
_SCHEME = re.compile(r"^https?://")


def split_label(text: str) -> tuple[str, str]:
    r"""Split "LABEL=AGENT" into label and agent.

    A label contains none of the characters = / \ { }. The label of any other text, and of an
    existing file or folder, is the default: kind and model of a JSON spec, or the agent's name.

    Raises:
        ValueError: if the label is blank, or the agent looks like JSON but is not a spec.
    """
    match = None if os.path.exists(text) else _LABEL.match(text)
    if match is None:
        return _default_label(text), text
    if not match[1]:
        raise ValueError(f"the agent {text!r} has a blank label; expected LABEL=AGENT, or AGENT")
    return match[1], text[match.end() :]


def agents_by_label(texts: Sequence[str]) -> dict[str, str]:
    """Return agents by label, in order.

    If the default labels of several JSON agents are equal, those after the first also name the
    fields that differ from the first: "rag · Qwen2.5-7B-Instruct (seed 1)".

    Args:
        texts: agents, or "LABEL=AGENT".

    Raises:
        ValueError: if there is no agent, an agent without a label is named twice, or a label is.
    """
    if not texts:
        raise ValueError("--agents is empty; expected at least one agent")
    named: dict[str, str] = {}
    for text in texts:
        label, agent = split_label(text)
        if label in named and agent == text and _is_json(text) and _is_json(named[label]):
            label = _with_differences(label, _spec(named[label]), _spec(text))
        if label in named:
            raise ValueError(
                f"--agents contains {label!r} twice, expected different names; name each agent "
                "once, or give one of them another label as LABEL=AGENT"
            )
        named[label] = agent
    return named


def _default_label(agent: str) -> str:
    if not _is_json(agent):
        return agent
    spec = _spec(agent)
    generator = spec.get("generator")
    generator = generator if isinstance(generator, Mapping) else {}
    servers = generator.get("servers") or generator.get("kind") or ""
    server = str(servers[0] if isinstance(servers, list) else servers)
    named = generator.get("model") or spec.get("policy") or ""
    model = Path(str(named)).name or _SCHEME.sub("", server).split("/")[0]
    label = " · ".join(filter(None, (str(spec["kind"]), model)))
    return re.sub(r"[={}/\\]+", "-", label)


def _with_differences(label: str, first: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    before, now = dict(_fields(first)), dict(_fields(spec))
    differences = [
        f"{name.rpartition('.')[2]} {now[name]}" if name in now else f"no {name}"
        for name in dict.fromkeys([*now, *before])
        if now.get(name) != before.get(name)
    ]
    return f"{label} ({', '.join(differences)})" if differences else label


def _fields(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in spec.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _SCHEME.sub("", str(value))


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _spec(text: str) -> dict[str, Any]:
    return spec_from_text(text, role="agent")
