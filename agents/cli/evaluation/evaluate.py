"""`zerosearch evaluate`: evaluates an agent and prints its scores.

Progress and the table go to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from agents.agent_labels import split_label
from agents.agent_registry import build_agent, fingerprint
from agents.evaluation.evaluate import evaluate
from agents.evaluation.progress import ProgressBar, print_plain
from agents.evaluation.settings import EvaluationSettings, adopt_settings
from agents.specs import by_content, served_models
from zs_env.search.prices import cost_table, prices_from_json

DEFAULT_FOLDER = Path("runs/evaluations")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(EvaluationSettings):
    """Play an agent on questions 0 to N-1 of an environment and report scores with intervals.

    The same command continues an interrupted evaluation, and replays episodes that an engine
    failure ended.

    Attributes:
        agent: random, answer-at-once, search-once, quote-page, search-names, follow-the-hops;
            "module:Class"; a folder of train-sb3; a trained language model: tiny, the folder of a
            model or of a run (its best checkpoint), a .gguf file, a Hugging Face name, or JSON with
            its dtype or device: {"kind": "policy", "policy": "runs/train", "dtype": "bfloat16"}; or
            a prompted one: {"kind": "rag", "generator": {"kind": "server", "servers": URL}}, with
            the kinds direct, cot, rag, ragent, search-o1, and instruct, which plays the
            environment's own protocol. LABEL=AGENT sets the name in tables.
        noise: noise probability of a search, in [0, 1]; the environment's own by default.
        prices: of searches in US dollars, as JSON: fields of `zs_env.search.prices.PriceTable`.
        output: folder for results and transcripts; a new one under runs/evaluations by default.
        json: print one JSON object to standard output.
    """

    agent: str
    noise: float | None = None
    prices: str = "{}"
    output: Path | None = None
    json: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 if a failure ended every episode."""
    config = tyro.cli(EvaluateConfig, prog="zerosearch evaluate", args=argv)
    prices = prices_from_json(config.prices)
    label, name = split_label(config.agent)
    served_models(config.env_kwargs())  # before an agent that may take long to load
    agent = build_agent(name)
    agent_print = fingerprint(agent)
    env_kwargs, adopted = adopt_settings(agent, config.env_kwargs(), env_id=config.env)
    console = Console(stderr=True)
    if adopted:
        print_plain(console, adopted)
    with ProgressBar(console, label) as bar:
        report = evaluate(
            agent,
            config.env,
            episodes=config.episodes,
            seed=config.seed,
            noise=config.noise,
            env_kwargs=env_kwargs,
            concurrency=config.concurrency,
            output=config.output or _default_folder(config, env_kwargs, agent_print),
            fresh=config.fresh,
            agent_name=name,
            agent_label=label,
            fingerprint=agent_print,
            on_start=bar.start,
            on_episode=bar.episode,
        )
    console.print(report.table())
    spent = ", ".join(f"{name} {value:.6g}" for name, value in report.costs.items() if value)
    console.print(f"Searches of this session: {spent or 'none'}")
    if report.costs.get("completion_tokens"):
        console.print(cost_table(report.costs, prices))
    if report.num_failures:
        warning = f"{label}: {report.failure_summary}. The same command replays them."
        print_plain(console, warning, style="yellow")
    print_plain(console, f"Results and transcripts: {report.folder}")
    if config.json:
        print(json.dumps(report.to_json()))
    return 1 if report.all_failed else 0


def _default_folder(
    config: EvaluateConfig, env_kwargs: Mapping[str, Any], agent_print: str
) -> Path:
    """Return a folder whose name depends on all settings, agent and data files."""
    data = [by_content(env_kwargs), served_models(env_kwargs)]
    agent = split_label(config.agent)[1]
    determining = [agent, config.env, config.seed, config.noise, data, agent_print]
    digest = blake2b(json.dumps(determining).encode(), digest_size=4).hexdigest()
    name = re.sub(r"[^\w.-]+", "-", f"{split_label(agent)[0]}-{config.env}").strip("-.")[:80]
    return DEFAULT_FOLDER / f"{name}-{digest}"
