"""What a benchmark is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from agents.evaluation.play_settings import PlaySettings
from agents.specs import data_files, spec_from_text
from agents.studies.benchmark.question_set import PAPER_SETS, PAPER_SIZE
from zs_env.metrics import F1Tokens

DEFAULT_FOLDER = Path("runs/benchmarks")
_LABEL = re.compile(r"([\w.-]+)=")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(PlaySettings):
    """Play several agents on the same questions with the same engine, and compare them.

    The same command goes on where it was stopped, at whatever moment. Agents, sets and repeats may
    be added to a folder; whatever would change an episode there is refused.

    Attributes:
        agents: as `zerosearch evaluate` takes them; LABEL=AGENT for one that tables should call
            otherwise.
        engine: a JSON spec, a kind, or a passage file.
        sets: nq, triviaqa, popqa, hotpotqa, 2wikimultihopqa, musique, bamboogle, from the hub; or
            NAME=FILE, or NAME=JSON spec, with one of these names or another.
        questions_per_set: a number; "paper" for the paper's 500, and the 125 of Bamboogle; "full"
            for all there are.
        sample: file of the questions to ask, as a benchmark leaves it: its sample.json.
        sample_seed: another one chooses other questions.
        repeats: of every question, with the seeds `seed`, `seed` + 1 and so on.
        temperature: at which language models draw tokens; 0 takes the likeliest.
        noise: chance in [0, 1] that a search returns noise; the environment's own by default.
        prices: US dollars as JSON, fields of `zs_env.search.prices.PriceTable`.
        json: print one JSON object to standard output.
        f1_tokens: what F1 counts: "words", or "characters" for Chinese and Japanese.
        output: folder; one of its own under runs/benchmarks by default.
    """

    agents: tuple[str, ...]
    engine: str
    sets: tuple[str, ...] = tuple(PAPER_SETS)
    questions_per_set: int | Literal["paper", "full"] = "paper"
    sample: Path | None = None
    sample_seed: int = 0
    repeats: int = 1
    temperature: float = 0.0
    noise: float | None = None
    prices: str = "{}"
    json: bool = False
    f1_tokens: F1Tokens = "words"
    output: Path | None = None

    def __post_init__(self) -> None:
        if not self.agents:
            raise ValueError("--agents names no agent; expected at least one")
        if len(self.named_agents()) < len(self.agents):
            raise ValueError(f"--agents names an agent twice, got {self.agents}; name each once")
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")
        if self.sample is not None and self.questions_per_set != "paper":
            raise ValueError(
                "--sample says which questions are asked, and so does --questions-per-set; "
                "give one of them"
            )

    def named_agents(self) -> dict[str, str]:
        """Return the agents by their labels."""
        return dict(_labelled(agent) for agent in self.agents)

    @property
    def set_size(self) -> int | None:
        """Questions asked of a set; None for all."""
        if self.questions_per_set == "full":
            return None
        return PAPER_SIZE if self.questions_per_set == "paper" else self.questions_per_set

    def env_kwargs(self) -> dict[str, Any]:
        """Return what is passed to every environment, beside its questions."""
        return {**super().env_kwargs(), "engine": spec_from_text(self.engine, role="engine")}

    def setting(self) -> Mapping[str, Any]:
        """Return what fixes every episode, beside agent, question and repeat."""
        return {
            "seed": self.seed,
            "noise": self.noise,
            "temperature": self.temperature,
            "env_kwargs": self.env_kwargs(),
            "files": data_files(self.env_kwargs()),
        }

    def folder(self) -> Path:
        """Return the folder, by default one that another setting or sample would not get."""
        if self.output is not None:
            return self.output
        sample = None if self.sample is None else self.sample.read_text(encoding="utf-8")
        what = [self.setting(), self.questions_per_set, self.sample_seed, sample]
        digest = blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=4).hexdigest()
        return DEFAULT_FOLDER / digest


def _labelled(agent: str) -> tuple[str, str]:
    match = _LABEL.match(agent)
    return (match[1], agent[match.end() :]) if match else (agent, agent)
