"""Settings of tuning a simulator: the flags of its command. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from agents.prompt_limits import PromptLimits
from agents.simulator_tuning.labels import JUDGES
from agents.storage.output_folder import FreshFlag
from zs_env.simulator.prompts import PROMPT_SETS, SimulatorPrompts
from zs_env.text.paths import expand_home, expand_paths
from zs_env.text.suggestions import check_names

_POSITIVE = ("epochs", "learning_rate", "batch_size", "micro_batch_size")
_POSITIVE += ("save_steps", "min_useful")


@dataclass(frozen=True, kw_only=True)
class TuneConfig(PromptLimits, FreshFlag):
    """Tune a language model to generate the pages of a search engine.

    Attributes:
        epochs: passes over the pairs.
        learning_rate: peak learning rate of AdamW; decays linearly to 0.
        warmup_steps: optimizer steps of linear warmup.
        batch_size: pairs per optimizer step.
        micro_batch_size: pairs per forward pass.
        max_tokens: longer pairs are skipped, and counted.
        lora_rank: rank of LoRA adapters; 0 tunes all weights.
        bf16: compute in bfloat16, with weights in float32.
        save_steps: optimizer steps between checkpoints.
        seed: random seed of all stages.
        output: folder of all stages.
        questions: training questions: a JSON spec, a kind, or a data file.
        engine: the real engine to imitate: a JSON spec, a kind, or a passage file.
        agent: the agent that searches, as in `zerosearch evaluate`.
        episodes: number of questions to collect pages for.
        page_documents: documents per real page. It should exceed `num_documents`, so that a useful
            and a noisy page can be made of one real page.
        max_turns: maximum number of actions per episode.
        judge: whose labels are used: containment, outcome or model.
        judge_model: JSON spec of the generator of the judge "model".
        released: data set released by the authors of ZeroSearch, used instead of collected pages:
            google, wiki or first. The first stage is then `build`.
        released_file: a local copy of the released data set.
        exclude: data files of evaluation questions, which are not used for training.
        licences: licences of the passages and questions, for the card.
        prompts: name of the simulator's prompts.
        num_documents: documents per simulated page.
        num_words: approximate number of words per document.
        min_useful: minimum number of useful documents in a useful page, at most `num_documents`.
            Higher values make the simulator state the answer more reliably.
        answer_substitution: share of the useful training pages whose answer is replaced by another
            answer, in prompt and page, so that the model learns to copy answers from the prompt.
            Released data sets are not changed.
        held_out: share of the questions that are held out for the report.
        model: folder or hub name of the model to tune.
        report_queries: held-out queries of each kind in the report.
        report_batch: pages generated per batch.
        before: JSON spec of a generator with the model before tuning, such as a server, which is
            faster than loading the model in this process.
        after: JSON spec of a generator with the tuned model.
        embedder: folder or hub name of a sentence-transformers model that measures the similarity
            of generated and real pages; by default, similarity is not measured.
        sources: the engine that retrieves the source passages of the report's grounded pages, and
            the passages by which the other pages are checked: a JSON spec, a kind, or a passage
            file; by default, `engine`.
        temperature: sampling temperature of the report, at most 0.3 for grounded pages.
        frequency_penalty: frequency penalty of the report; small models repeat words without it.
            Not used for grounded pages, which repeat the names of their sources.
        dtype: dtype of the models that this process loads for the report.
        json: print one JSON object to standard output.
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
    answer_substitution: float = 0.7
    held_out: float = 0.1
    model: str | None = None
    report_queries: int = 200
    report_batch: int = 32
    before: str | None = None
    after: str | None = None
    sources: str | None = None
    embedder: str | None = None
    temperature: float = 0.8
    frequency_penalty: float = 0.5
    dtype: str = "float32"
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        expand_paths(self)
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size "
                f"{self.micro_batch_size}"
            )
        check_names("judge", [self.judge], JUDGES)
        check_names(
            "prompts", [self.prompts], [n for n, one in PROMPT_SETS.items() if not one.uses_sources]
        )
        if self.judge == "model" and self.judge_model is None:
            raise ValueError("the judge 'model' needs --judge-model, the spec of a generator")
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"--held-out is a share between 0 and 1, got {self.held_out}")
        share = self.answer_substitution
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"--answer-substitution is a share from 0 to 1, got {share}")
        if self.page_documents < self.num_documents:
            raise ValueError(
                f"--page-documents {self.page_documents} must be at least --num-documents "
                f"{self.num_documents}"
            )

    def simulator_prompts(self) -> SimulatorPrompts:
        """Return the prompts with the configured document length."""
        return replace(PROMPT_SETS[self.prompts], num_words=self.num_words)

    def base_model(self) -> str:
        """Return the model to tune; ValueError if it is missing."""
        if self.model is None:
            raise ValueError("--model is missing: the folder or hub name of the model to tune")
        return expand_home(self.model)
