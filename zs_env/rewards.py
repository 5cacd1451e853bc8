"""The reward of a finished episode, composed of named terms.

A reward function sees the parsed transcript, never its text as a whole, and returns named terms
whose sum is the reward. Faulty episodes never get here: they are void and have reward 0. The
recipes of related systems are rows of `PRESETS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

from zs_env.actions import Malformed, thinks_before_acting
from zs_env.metrics import f1_score
from zs_env.text.suggestions import unknown_name
from zs_env.transcripts.transcript import Transcript

RewardFunction = Callable[[Transcript], Mapping[str, float]]
Term = Callable[[Transcript], float]


def answer_f1(transcript: Transcript) -> dict[str, float]:
    """Token F1 of the parsed answer, 0 without one. Source: ZeroSearch (arXiv:2505.04588), 3.5."""
    return {"f1": _f1(transcript)}


def is_well_formed(transcript: Transcript) -> bool:
    """Whether the agent answered and no action of the episode was malformed."""
    return transcript.prediction is not None and not any(
        isinstance(turn.action, Malformed) for turn in transcript.turns
    )


def is_well_thought(transcript: Transcript) -> bool:
    """Whether it is well formed and every action comes after a closed `<think>`."""
    return is_well_formed(transcript) and all(
        thinks_before_acting(turn.text) for turn in transcript.turns
    )


def _f1(transcript: Transcript) -> float:
    prediction = transcript.prediction
    return 0.0 if prediction is None else f1_score(prediction, transcript.question.answers)


def _retrieval_hit(transcript: Transcript) -> float:
    documents = (document for turn in transcript.turns for document in turn.documents)
    return float(any(document.contains_answer for document in documents))


# What a weight may stand before. `think_*` terms ask for a closed <think> before every action.
TERMS: dict[str, Term] = {
    "f1": _f1,
    "exact_match": lambda transcript: transcript.scores()["exact_match"],
    "cover_match": lambda transcript: transcript.scores()["cover_match"],
    "answered": lambda transcript: float(transcript.prediction is not None),
    "format": lambda transcript: float(is_well_formed(transcript)),
    "format_error": lambda transcript: float(not is_well_formed(transcript)),
    "think_format": lambda transcript: float(is_well_thought(transcript)),
    "think_format_error": lambda transcript: float(not is_well_thought(transcript)),
    "think_format_f1": lambda transcript: _f1(transcript) if is_well_thought(transcript) else 0.0,
    "think_format_only": lambda transcript: float(
        _f1(transcript) == 0.0 and is_well_thought(transcript)
    ),
    "malformed": lambda transcript: float(transcript.malformed.total()),
    "retrieval": lambda transcript: float(transcript.num_searches > 0),
    "retrieval_hit": _retrieval_hit,
    "searches": lambda transcript: float(transcript.num_searches),
}


@dataclass(frozen=True, slots=True)
class Reward:
    """A weighted sum of terms.

    Attributes:
        weights: (name of a row of `TERMS`, weight) pairs; a cost is a negative weight.

    Raises:
        ValueError: if a term is unknown or named twice, or a weight is not a finite number.
    """

    weights: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.weights]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a reward needs at least one term and each only once, got {names}")
        for name, weight in self.weights:
            if name not in TERMS:
                raise unknown_name("reward term", name, TERMS)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)):
                raise ValueError(f"the weight of reward term {name!r} is a number, got {weight!r}")
            if not isfinite(weight):
                raise ValueError(f"the weight of reward term {name!r} must be finite, got {weight}")

    def __call__(self, transcript: Transcript) -> dict[str, float]:
        """Return each term, already weighted."""
        return {name: weight * TERMS[name](transcript) for name, weight in self.weights}

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return the value from which `build_reward` builds an equal reward."""
        return {"terms": dict(self.weights)}


PRESETS: dict[str, Reward] = {
    # ZeroSearch (arXiv:2505.04588), section 3.5: token F1 and nothing for the format.
    "zerosearch": Reward((("f1", 1.0),)),
    # Search-R1 (arXiv:2503.09516), section 3.4: exact match and nothing for the format.
    "search_r1": Reward((("exact_match", 1.0),)),
    # R1-Searcher (arXiv:2503.05592), section 2.3, stage 1: learn to call the engine at all.
    "r1_searcher_stage1": Reward((("retrieval", 0.5), ("think_format", 0.5))),
    # R1-Searcher, stage 2: the answer counts, and a broken format costs more than it can bring.
    "r1_searcher_stage2": Reward((("f1", 1.0), ("think_format_error", -2.0))),
    # ReSearch (arXiv:2503.19470), section 2.4: F1, or 0.1 where F1 is 0 and the format is right.
    "research": Reward((("f1", 1.0), ("think_format_only", 0.1))),
    # DeepResearcher (arXiv:2504.03160), section 3.3: F1, or -1 where the format is wrong.
    "deepresearcher": Reward((("think_format_f1", 1.0), ("think_format_error", -1.0))),
    # DeepSeek-R1 (arXiv:2501.12948), section 2.2: accuracy and format, at equal weights.
    "r1": Reward((("exact_match", 1.0), ("think_format", 1.0))),
    # SSRL (arXiv:2508.10874): 1 - l for a right answer and l for the format;
    # l = 0.2 is remembered, not checked.
    "ssrl": Reward((("exact_match", 0.8), ("think_format", 0.2))),
}


def build_reward(spec: str | Mapping[str, object]) -> Reward:
    """Build a reward from a JSON value.

    Args:
        spec: a name of `PRESETS`, or `{"terms": {name: weight, ...}}`, to which `"preset"` may
            add that preset's terms.

    Raises:
        ValueError: if a name is unknown or the form is another.
    """
    if isinstance(spec, str):
        spec = {"preset": spec}
    if not isinstance(spec, Mapping) or not spec or set(spec) - {"preset", "terms"}:
        raise ValueError(
            f"a reward is a preset's name or {{'terms': {{name: weight}}}}, got {spec!r}"
        )
    weights: dict[str, float] = {}
    if "preset" in spec:
        preset = spec["preset"]
        if not isinstance(preset, str) or preset not in PRESETS:
            raise unknown_name("reward preset", preset, PRESETS)
        weights |= PRESETS[preset].weights
    terms = spec.get("terms", {})
    if not isinstance(terms, Mapping):
        raise ValueError(f"'terms' of a reward maps names to weights, got {terms!r}")
    return Reward(tuple((weights | dict(terms)).items()))
