"""The settings of a benchmark, and its question sets: the seven of the paper, and your own.

Source: ZeroSearch (arXiv:2505.04588), section 4: 500 questions of each of six sets and the 125 of
Bamboogle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from agents.agent_labels import agents_by_label
from agents.evaluation.settings import EpisodeSettings
from agents.specs import by_content, spec_from_text
from zs_env.metrics import F1Tokens
from zs_env.text.paths import local_path
from zs_env.text.suggestions import unknown_name

# Labels in the paper's tables, in the paper's order.
PAPER_SETS: dict[str, str] = {
    "nq": "NQ",
    "triviaqa": "TriviaQA",
    "popqa": "PopQA",
    "hotpotqa": "HotpotQA",
    "2wikimultihopqa": "2Wiki",
    "musique": "MuSiQue",
    "bamboogle": "Bamboogle",
}
PAPER_SIZE = 500
AVERAGE = "average"  # in place of a set's name: the mean over all sets
DEFAULT_FOLDER = Path("runs/benchmarks")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(EpisodeSettings):
    """Play several agents on the same questions with the same engine, and compare them.

    The same command continues an interrupted benchmark. Agents, sets and repeats can be added to a
    folder; settings that would change its episodes are refused.

    Attributes:
        agents: as for `zerosearch evaluate`; LABEL=AGENT sets the label in tables.
        engine: a JSON spec, a kind, or a passage file.
        sets: nq, triviaqa, popqa, hotpotqa, 2wikimultihopqa, musique, bamboogle, from the hub; or
            NAME=FILE, or NAME=JSON spec, with one of these names or another.
        questions_per_set: a number; "paper" for the paper's 500, and the 125 of Bamboogle; "full"
            for all.
        sample: file of the questions to ask: the sample.json of a benchmark.
        sample_seed: determines which questions are chosen.
        repeats: episodes of every question, with the seeds `seed`, `seed` + 1 and so on.
        temperature: of language models; 0 decodes greedily.
        noise: noise probability of a search, in [0, 1]; the environment's own by default.
        prices: of searches in US dollars, as JSON: fields of `zs_env.search.prices.PriceTable`.
        json: print one JSON object to standard output.
        f1_tokens: what F1 counts: "words", or "characters" for Chinese and Japanese.
        audit: folder of `zerosearch audit`: also report scores on the questions that its passages
            can answer; "engine" audits the questions asked against the engine's own passage file.
        output: folder; a new one under runs/benchmarks by default.
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
    audit: str | None = None
    output: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        agents_by_label(self.agents)
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")
        if self.sample is not None and self.questions_per_set != "paper":
            raise ValueError(
                "--sample and --questions-per-set both choose the questions; pass one of them"
            )
        if self.sample is not None and not self.sample.is_file():
            raise ValueError(
                f"--sample {self.sample} is not a file; pass the sample.json of a benchmark"
            )

    @property
    def set_size(self) -> int | None:
        """Number of questions of a set; None for all."""
        if self.questions_per_set == "full":
            return None
        return PAPER_SIZE if self.questions_per_set == "paper" else self.questions_per_set

    def env_kwargs(self) -> dict[str, Any]:
        """Return the arguments of every environment, without its questions."""
        return {**super().env_kwargs(), "engine": spec_from_text(self.engine, role="engine")}

    def setting(self) -> Mapping[str, Any]:
        """Return what determines an episode, apart from agent, question and repeat."""
        return {
            "seed": self.seed,
            "noise": self.noise,
            "temperature": self.temperature,
            "env_kwargs": super().env_kwargs(),
            "files": by_content(spec_from_text(self.engine, role="engine")),
        }

    def folder(self) -> Path:
        """Return the folder; the default name depends on the setting and the sample."""
        if self.output is not None:
            return self.output
        sample = None if self.sample is None else self.sample.read_text(encoding="utf-8")
        what = [self.setting(), self.questions_per_set, self.sample_seed, sample]
        digest = blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=4).hexdigest()
        return DEFAULT_FOLDER / digest


def question_sets(texts: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Read sets, see `BenchmarkConfig.sets`, as the specs of the questions by name.

    Raises:
        ValueError: if a name is unknown or given twice, or a spec is invalid.
    """
    if not texts:
        raise ValueError(f"--sets is empty; expected some of {list(PAPER_SETS)}, or NAME=FILE")
    return named_sets(texts, flag="--sets")


def named_sets(texts: Sequence[str], *, flag: str) -> dict[str, Mapping[str, Any]]:
    """Read specs of questions by name from FILE, NAME=FILE, NAME=JSON spec, or a set of the paper.

    The name of a FILE without one is the name of the file up to its first dot.

    Raises:
        ValueError: if a name is unknown, reserved or given twice, or a spec is invalid.
    """
    sets: dict[str, Mapping[str, Any]] = {}
    for text in texts:
        name, spec = _named_set(text, flag)
        if name == AVERAGE:
            raise ValueError(
                f"{flag} got {text!r}; {AVERAGE!r} is reserved for the mean over the sets"
            )
        if name in sets:
            raise ValueError(f"{flag} contains the set {name!r} twice; name each set once")
        sets[name] = spec
    return sets


def _named_set(text: str, flag: str) -> tuple[str, Mapping[str, Any]]:
    name, has_spec, spec = text.partition("=")
    path = local_path(text)
    if text not in PAPER_SETS and path.is_file():
        return path.name.split(".")[0], {"kind": "file", "path": text}
    if text.lstrip().startswith("{"):
        raise ValueError(f"{flag} got {text!r}; a JSON spec needs a name: NAME={text}")
    if text not in PAPER_SETS and path.is_dir():
        raise ValueError(f"{flag} got {text!r}, which is a folder; pass a file of questions")
    if has_spec and not spec:
        raise ValueError(f"{flag} got {text!r}; expected NAME=FILE or NAME=JSON spec")
    if has_spec and not name.isidentifier() and name not in PAPER_SETS:
        raise ValueError(
            f"{flag} got {text!r}; expected NAME=FILE with a name of letters, digits and _"
        )
    if has_spec:
        return name, spec_from_text(spec, role="questions", name=flag)
    if name in PAPER_SETS:
        return name, {"kind": "hub", "name": name}
    if path.suffix:
        raise FileNotFoundError(f"{flag} got {text!r}, which is not a file; check the path")
    known = unknown_name("question set", name, PAPER_SETS)
    raise ValueError(f"{known}; or pass the path of an existing file of questions")
