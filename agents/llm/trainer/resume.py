"""Which settings may differ when a run is resumed."""

from __future__ import annotations

from typing import Any

from agents.llm.trainer.config import TrainConfig
from agents.specs import rewritten, spec_from_text
from agents.storage.config_file import settings_of

# They affect speed, files and output, but not the weights.
_FREE = frozenset(
    (
        *("resume", "json", "checkpoint_every", "keep_checkpoints", "tensorboard", "tracker"),
        *("output", "prices", "generator", "engine_timeout_s", "rank_deadline_s"),
        "gradient_checkpointing",
    )
)
# The same within an engine's spec: the address of a simulator, and the budget.
_FREE_OF_ENGINES = frozenset(("servers", "limits", "prices", "budget"))
_ENGINES = ("engine", "eval_engine", "real_engine")


def check_resumes(config: TrainConfig, recorded: TrainConfig) -> None:
    """Check that a run can be resumed with these settings.

    Args:
        config: settings as requested.
        recorded: settings of the run.

    Raises:
        ValueError: naming every setting that differs, with both values.
    """
    free = _FREE | ({"steps"} if _more_steps_change_nothing(recorded) else set())
    before = settings_of(recorded)
    differing = [
        f"{name}={value!r} (the run has {before[name]!r})"
        for name, value in settings_of(config).items()
        if name not in free and _compared(name, value) != _compared(name, before[name])
    ]
    if differing:
        raise ValueError(
            f"--resume continues the run in {config.run.output} with its own settings, but got "
            f"{', '.join(differing)}; leave those flags as they were, or choose another --output"
        )


def _more_steps_change_nothing(config: TrainConfig) -> bool:
    noise_is_fixed = config.noise.noise_steps > 0 or config.noise.noise_shape == "constant"
    order_is_fixed = config.rollouts.curriculum_steps > 0 or not config.rollouts.curriculum
    return noise_is_fixed and order_is_fixed and config.optimizer.lr_schedule == "constant"


def _compared(name: str, value: Any) -> Any:
    """The part of a setting's value that affects the weights."""
    if name not in _ENGINES or value is None:
        return value
    return rewritten(
        spec_from_text(value, role="engine"),
        lambda one: {key: held for key, held in one.items() if key not in _FREE_OF_ENGINES},
    )
