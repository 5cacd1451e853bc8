"""`zerosearch evaluate`: plays an agent and prints its figures.

Progress and the table go to standard error, the object of `--json` to standard output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import tyro
from rich.console import Console

from agents.agent_registry import build_agent, fingerprint
from agents.cli.environment_flags import EnvironmentFlags
from agents.evaluation.evaluate import evaluate
from agents.evaluation.progress import EpisodeBar
from agents.specs import data_files
from agents.storage.plain_text import say
from zs_env.search.prices import cost_table, prices_from_json

DEFAULT_FOLDER = Path("runs/evaluations")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(EnvironmentFlags):
    """Play an agent on questions 0 to N-1 of an environment and report scores with intervals.

    The same command continues what it left unfinished, and plays again what a failure of the engine
    ended.

    Attributes:
        agent: random, answer-at-once, search-once, quote-page, search-names, follow-the-hops;
            "module:Class"; a folder of train-sb3; a language model that was trained: tiny, a
            folder, a .gguf file, a Hugging Face name; or one that is prompted, as JSON: {"kind":
            "rag", "generator": {"kind": "server", "servers": URL}}, of the kinds direct, cot, rag,
            ragent, search-o1.
        noise: chance in [0, 1] that a search returns noise; the environment's own by default.
        prices: US dollars as JSON, fields of `zs_env.search.prices.PriceTable`.
        output: folder for results and transcripts; one of its own under runs/evaluations by
            default.
        json: print one JSON object to standard output.
    """

    agent: str
    noise: float | None = None
    prices: str = "{}"
    output: Path | None = None
    json: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 1 where a failure ended every episode."""
    config = tyro.cli(EvaluateConfig, prog="zerosearch evaluate", args=argv)
    prices = prices_from_json(config.prices)
    agent = build_agent(config.agent)
    agent_print = fingerprint(agent)
    if config.prompt is None:
        config = replace(config, prompt=getattr(agent, "prompt", None))
    console = Console(stderr=True)
    with EpisodeBar(console) as bar:
        report = evaluate(
            agent,
            config.env,
            episodes=config.episodes,
            seed=config.seed,
            noise=config.noise,
            env_kwargs=config.env_kwargs(),
            concurrency=config.concurrency,
            output=config.output or _default_folder(config, agent_print),
            agent_name=config.agent,
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
        told = f"{config.agent}: {report.failure_summary}. The same command plays them again."
        say(console, told, style="yellow")
    say(console, f"Results and transcripts: {report.folder}")
    if config.json:
        print(json.dumps(report.to_json()))
    return 1 if report.all_void else 0


def _default_folder(config: EvaluateConfig, agent_print: str) -> Path:
    """Return a folder that another setting would not get, so that nothing stale is continued."""
    env_kwargs = config.env_kwargs()
    setting = (config.agent, config.env, config.seed, config.noise, env_kwargs)
    decides = [*setting, data_files(env_kwargs), agent_print]
    digest = blake2b(json.dumps(decides).encode(), digest_size=4).hexdigest()
    name = re.sub(r"[^\w.-]+", "-", f"{config.agent}-{config.env}").strip("-.")[:80]
    return DEFAULT_FOLDER / f"{name}-{digest}"
