"""Every setting of tuning a simulator, the flags of its command. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from agents.simulator_tuning.judge import JUDGES
from zs_env.simulator.prompts import PROMPT_SETS, SimulatorPrompts
from zs_env.text.suggestions import unknown_name


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How a simulator is tuned.

    Attributes:
        epochs: passes over the pairs.
        learning_rate: peak of AdamW; it falls linearly to 0.
        warmup_steps: optimizer steps over which it rises first.
        batch_size: pairs of one optimizer step.
        micro_batch_size: of them computed at once.
        max_tokens: longer pairs are left out, and counted.
        lora_rank: of the adapters; 0 tunes every weight.
        bf16: compute in bfloat16, weights in float32.
        save_steps: optimizer steps between checkpoints.
        seed: of everything that is drawn.
    """

    epochs: float = 1.0
    learning_rate: float = 3e-4
    warmup_steps: int = 10
    batch_size: int = 8
    micro_batch_size: int = 4
    max_tokens: int = 1024
    lora_rank: int = 0
    bf16: bool = True
    save_steps: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "batch_size", "micro_batch_size", "save_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of micro_batch_size "
                f"{self.micro_batch_size}"
            )


@dataclass(frozen=True, kw_only=True)
class TuneConfig(TuneSettings):
    """Tune a language model to write the pages of a search engine.

    Attributes:
        output: folder of all stages.
        questions: training questions: a JSON spec, a kind, or a data file.
        engine: the real engine to imitate: a JSON spec, a kind, or a passage file.
        agent: who searches, as in `zerosearch evaluate`.
        episodes: questions that it plays.
        page_documents: documents of every real page; more than a simulated page has, so that pages
            of either kind can be made from one.
        max_turns: actions of an episode.
        judge: whose verdicts decide: containment, outcome or model.
        judge_model: spec of the generator that judges, JSON; needed by the judge "model".
        released: in place of collected pages, a set that the authors of ZeroSearch released, by
            name: google, wiki, first; `build` is then the first stage.
        released_file: a local copy of it.
        exclude: data files whose questions must not be trained on: those of the evaluation.
        licences: of the passages and questions, for the card.
        prompts: how the simulator is asked, a name.
        num_documents: of a simulated page.
        num_words: about how long a document is.
        min_useful: documents of a useful page that a judge found useful, at least (or all, where
            a page has fewer); the more they are, the surer the simulator gives the answer.
        exchanged: share of the useful training pages whose answer is exchanged for another's, in
            prompt and page, so that answers are copied and not guessed; see `exchange`. Released
            sets stay as they are.
        held_out: share of the questions kept for the report.
        model: language model to begin with: a folder or a name on the hub.
        report_queries: held-out queries of each kind in the report.
        report_batch: pages written at once.
        before: spec of a generator, JSON, that has the model to begin with, such as a server of it,
            which is faster than to load it here.
        after: the same of the tuned model.
        embedder: sentence-transformers model that says how like the real pages the written ones
            are: a folder or a name on the hub; left out by default.
        temperature: of the pages in the report.
        frequency_penalty: of the pages in the report; small models repeat themselves without it.
        dtype: of the model that writes them.
        json: print one JSON object to standard output.
    """

    output: Path = Path("runs/simulator")
    questions: str | None = None
    engine: str | None = None
    agent: str = "search-names"
    episodes: int = 1000
    page_documents: int = 15
    max_turns: int = 5
    judge: str = "containment"
    judge_model: str | None = None
    released: str | None = None
    released_file: Path | None = None
    exclude: tuple[Path, ...] = ()
    licences: str = "not stated"
    prompts: str = "tuned"
    num_documents: int = 5
    num_words: int = 30
    min_useful: int = 3
    exchanged: float = 0.7
    held_out: float = 0.1
    model: str | None = None
    report_queries: int = 200
    report_batch: int = 32
    before: str | None = None
    after: str | None = None
    embedder: str | None = None
    temperature: float = 0.8
    frequency_penalty: float = 0.5
    dtype: str = "float32"
    json: bool = False

    def __post_init__(self) -> None:
        TuneSettings.__post_init__(self)
        if self.judge not in JUDGES:
            raise unknown_name("judge", self.judge, JUDGES)
        if self.judge == "model" and self.judge_model is None:
            raise ValueError("the judge 'model' needs --judge-model, the spec of a generator")
        if self.prompts not in PROMPT_SETS:
            raise unknown_name("prompts", self.prompts, PROMPT_SETS)
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"--held-out is a share between 0 and 1, got {self.held_out}")
        if not 0.0 <= self.exchanged <= 1.0:
            raise ValueError(f"--exchanged is a share from 0 to 1, got {self.exchanged}")
        if self.min_useful < 1:
            raise ValueError(f"--min-useful must be at least 1, got {self.min_useful}")
        if self.page_documents < self.num_documents:
            raise ValueError(
                f"--page-documents {self.page_documents} must be at least --num-documents "
                f"{self.num_documents}"
            )

    def simulator_prompts(self) -> SimulatorPrompts:
        """The prompts, with the length of documents asked for."""
        return replace(PROMPT_SETS[self.prompts], num_words=self.num_words)
