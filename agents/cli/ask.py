"""`zerosearch ask`: answers a question, or a file of questions.

The episode of a single question is shown live. With `--json` it goes to standard error, and one
JSON object to standard output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track

from agents.agent import Agent
from agents.agent_registry import build_agent, fingerprint
from agents.ask.ask import ask, ask_all
from agents.ask.question_file import asked_question, read_asked_questions
from agents.ask.reply import ReplyFile
from agents.ask.view import View
from agents.evaluation.progress import print_plain
from agents.evaluation.settings import EpisodeSettings, adopt_settings
from agents.specs import by_content, served_models, spec_from_text
from zs_env.config import WORLD, build_engine, build_questions
from zs_env.env import ZeroSearchEnv
from zs_env.episode import Limits
from zs_env.search.engine import SearchEngine


@dataclass(frozen=True, kw_only=True)
class AskConfig(EpisodeSettings):
    """Answer a question, or each question of a file, by searching.

    The gold answers need not be known.

    Attributes:
        question: the question.
        policy: the agent: tiny, a folder, a Hugging Face name, or JSON, as for
            `zerosearch evaluate --agent`.
        engine: the search engine: a JSON spec, a kind, or a passage file; by default that of the
            embedded world, which contains no other facts.
        file: of questions: one a line, or JSONL or Parquet with a field "question". The same
            command continues an interrupted file, and replays what a failure ended.
        output: JSONL file for the replies to --file; its name with .replies.jsonl by default.
        noise: noise probability of a search, in [0, 1], if the engine supports noise.
        concurrency: questions of --file played at once; the replies do not depend on it.
        json: print one JSON object to standard output: the reply, or the counts of --file.
    """

    question: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")] = None
    policy: str = "tiny"
    engine: str = '{"kind": "world"}'
    file: Path | None = None
    output: Path | None = None
    noise: float = 0.0
    concurrency: int = 16
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.question is None) == (self.file is None):
            raise ValueError('pass either "a question" or --file FILE')
        if self.output is not None and self.file is None:
            raise ValueError("--output is for the replies to --file; use --json for one question")
        if not 0.0 <= self.noise <= 1.0:
            raise ValueError(f"--noise must be in [0, 1], got {self.noise}")
        for name, minimum in (("concurrency", 1), ("seed", 0)):
            if getattr(self, name) < minimum:
                raise ValueError(f"--{name} must be at least {minimum}, got {getattr(self, name)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 if the engine failed."""
    config = tyro.cli(AskConfig, prog="zerosearch ask", args=argv)
    spec = spec_from_text(config.engine, role="engine")
    served_models(spec)  # a server that cannot be reached is reported at once
    # Engines of the embedded world need its questions.
    engine: Any = build_engine(spec, build_questions(WORLD))
    with closing(engine):
        agent = build_agent(config.policy)
        getattr(agent, "served_models", list)()
        rules, adopted = _rules(config, agent)
        if adopted:
            print_plain(Console(stderr=True), adopted)
        if config.file is not None:
            return _ask_file(config, config.file, agent, engine, rules)
        assert config.question is not None, "the configuration checks it"
        reply = ask(
            agent,
            asked_question(config.question),
            engine,
            view=View(Console(stderr=config.json, highlight=False)),
            seed=config.seed,
            noise=config.noise,
            rules=rules,
        )
    if config.json:
        print(json.dumps(asdict(reply)))
    return 0 if reply.failure is None else 1


def _rules(config: AskConfig, agent: Agent) -> tuple[dict[str, Any], str | None]:
    """Return the environment's arguments for an agent, and a line on those that are adopted."""
    rules, adopted = adopt_settings(agent, config.env_kwargs())
    if "limits" in rules:
        rules["limits"] = Limits(**rules["limits"])
    return rules, adopted


def _ask_file(
    config: AskConfig, path: Path, agent: Agent, engine: SearchEngine, rules: dict[str, Any]
) -> int:
    with closing(ZeroSearchEnv(read_asked_questions(path), engine, **rules)) as env:
        # Without those that --overlong-prompts skips.
        questions = [env.questions[number] for number in range(env.num_questions)]
    output = config.output or path.with_name(f"{path.name}.replies.jsonl")
    if output.exists() and output.samefile(path):
        raise ValueError(f"--output and --file are the same file, {path}; choose another --output")
    replies = ReplyFile(output, questions, _setting(config, agent, rules), fresh=config.fresh)
    missing = replies.missing()
    console = Console(stderr=True)
    if len(missing) < len(questions):
        console.print(
            f"{len(questions) - len(missing)} of {len(questions)} were answered before; "
            "playing the others"
        )
    played = ask_all(
        agent,
        questions,
        engine,
        numbers=missing,
        concurrency=min(config.concurrency, max(len(missing), 1)),
        seed=config.seed,
        noise=config.noise,
        rules=rules,
    )
    for number, reply in track(
        played, "questions", len(missing), console=console, disable=not console.is_terminal
    ):
        replies.add(number, reply)
    rows = replies.finish()
    counts: dict[str, Any] = {
        "questions": len(rows),
        "answered": sum(row["answer"] is not None for row in rows),
        "failures": sum(row["failure"] is not None for row in rows),
        "output": str(output),
    }
    print_plain(console, ", ".join(f"{name} {value}" for name, value in counts.items()))
    if config.json:
        print(json.dumps(counts))
    return 0 if not counts["failures"] else 1


def _setting(config: AskConfig, agent: Agent, rules: Mapping[str, Any]) -> str:
    """Return a digest of everything that determines a reply, apart from the question.

    The timeout is excluded, so that questions which it ended can be repeated with a longer one.
    """
    engine = spec_from_text(config.engine, role="engine")
    rules = {name: value for name, value in rules.items() if name != "engine_timeout_s"}
    determining = (
        fingerprint(agent),
        by_content(engine),
        served_models(engine),
        repr(sorted(rules.items())),
        config.noise,
        config.seed,
    )
    return blake2b(json.dumps(determining, sort_keys=True).encode(), digest_size=8).hexdigest()
