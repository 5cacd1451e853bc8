"""The settings of a warm start. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from agents.llm.learner.config import OptimizerConfig
from agents.llm.policy.config import ModelConfig
from agents.llm.trainer.config import RunSettings, SessionConfig, at_least, heading
from agents.noise_kinds import NoiseKindsFlag
from agents.prompt_limits import PromptLimits
from agents.specs import spec_from_text
from agents.tool_flags import ToolsFlag

_OPTIMIZER = OptimizerConfig(
    learning_rate=1e-4, warmup_steps=5, lr_schedule="cosine", tokens_per_micro_batch=2048
)
_MODEL = ModelConfig()
_SESSION = SessionConfig(output=Path("runs/warm-start"), checkpoint_every=50)


@dataclass(frozen=True, kw_only=True)
class DemonstrationConfig(PromptLimits, NoiseKindsFlag, ToolsFlag):
    """Questions and rules of the demonstrations.

    Attributes:
        questions: files of questions with gold paragraphs, one JSON spec of such questions, or
            "world" for those of a fictional world.
        engine: JSON spec of the engine that the teacher searches until a page shows the answer,
            such as {"kind": "corpus", "passages": FILE}; the questions then need no paragraphs.
            None for the paragraphs of the questions, or the world.
        episodes: most demonstrations to train on.
        held_out: demonstrations on other questions, on which the loss is measured.
        max_turns: most actions per episode; with 1 the teacher answers without a search.
        num_documents: documents per page.
        max_document_chars: longest document, in characters; the rest is cut.
        max_new_tokens: demonstrations with a longer action, in tokens, are left out.
        prompt: prompt template: a name or a text. It is saved with the policy.
        max_noise: noise probabilities are drawn per episode, uniformly from 0 to this.
    """

    questions: tuple[str, ...] = ("world",)
    engine: str | None = None
    episodes: int = 400
    held_out: int = 32
    max_turns: int = 4
    num_documents: int = 3
    max_document_chars: int = 300
    max_new_tokens: int = 56
    prompt: str = "bare"
    max_noise: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.noise_settings()
        self.tool_settings()
        at_least(1, self, "episodes", "held_out", "max_new_tokens")
        if not 0 <= self.max_noise <= 1:
            raise ValueError(f"max_noise is a probability in [0, 1], got {self.max_noise}")
        if not self.questions:
            raise ValueError("questions is empty; give at least one file with gold paragraphs")

    def question_spec(self) -> dict[str, Any]:
        """The questions as a spec; several files become one dataset.

        Raises:
            ValueError: if there are several specs and one is not a file.
        """
        specs = [spec_from_text(text, role="questions") for text in self.questions]
        if len(specs) == 1:
            return specs[0]
        if any(spec["kind"] != "file" for spec in specs):
            raise ValueError(
                f"questions has {len(specs)} entries, {list(self.questions)}; expected files only, "
                "or one JSON spec"
            )
        return {"kind": "file", "path": [spec.get("path") for spec in specs]}


@dataclass(frozen=True, kw_only=True)
class SupervisionConfig:
    """Length of supervised training.

    Attributes:
        epochs: passes over the demonstrations.
        steps: optimizer steps, over as many epochs as needed; 0 for those of --epochs.
        tokens_per_batch: most tokens, of all sources, of an optimizer step.
    """

    epochs: float = 1.0
    steps: int = 0
    tokens_per_batch: int = 4096

    def __post_init__(self) -> None:
        if not self.epochs > 0:
            raise ValueError(f"epochs must be above 0, got {self.epochs}")
        at_least(0, self, "steps")


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig(RunSettings):
    """All settings of `zerosearch warm-start`."""

    settings_file = "warm_start.json"  # config.json is that of the saved policy

    demonstrations: Annotated[DemonstrationConfig, heading("demonstrations")] = (
        DemonstrationConfig()
    )
    supervision: Annotated[SupervisionConfig, heading("optimization")] = SupervisionConfig()
    optimizer: Annotated[OptimizerConfig, heading("optimization")] = _OPTIMIZER
    model: Annotated[ModelConfig, heading("run")] = _MODEL
    run: Annotated[SessionConfig, heading("run")] = _SESSION
