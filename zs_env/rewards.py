"""Reward functions: from a finished transcript to named terms, whose sum is the reward.

A reward function reads the parsed actions, not the text of the transcript. It is not called for an
episode that a failure of the engine or of the judge ended. `PRESETS` has the rewards of published
systems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from zs_env.actions import Malformed, thinks_before_acting
from zs_env.metrics import f1_score, rouge_l
from zs_env.text.numbers import as_float
from zs_env.text.suggestions import check_names, keywords, unknown_name
from zs_env.transcripts.transcript import Transcript

if TYPE_CHECKING:
    from zs_env.judge import Judge

RewardFunction = Callable[[Transcript], Mapping[str, float]]
Term = Callable[[Transcript], float]


def answer_f1(transcript: Transcript) -> dict[str, float]:
    """Token F1 of the answer, in [0, 1]; 0 without one.

    Source: ZeroSearch (arXiv:2505.04588), section 3.5.
    """
    return {"f1": _f1(transcript)}


def is_well_formed(transcript: Transcript) -> bool:
    """Whether the agent answered and no action was malformed."""
    return transcript.prediction is not None and not any(
        isinstance(turn.action, Malformed) for turn in transcript.turns
    )


def is_well_thought(transcript: Transcript) -> bool:
    """Whether the episode is well formed and every action follows a `<think>` block."""
    return is_well_formed(transcript) and all(
        thinks_before_acting(turn.text, tools=transcript.tools) for turn in transcript.turns
    )


def _f1(transcript: Transcript) -> float:
    prediction = transcript.prediction
    return 0.0 if prediction is None else f1_score(prediction, transcript.question.answers)


def _rouge_l(transcript: Transcript) -> float:
    prediction = transcript.prediction
    return 0.0 if prediction is None else rouge_l(prediction, transcript.question.answers)


def _judge(transcript: Transcript) -> float:
    return 0.0 if transcript.verdict is None else transcript.verdict.value


def _retrieval_hit(transcript: Transcript) -> float:
    # A noisy document may name the answer of a comparison, which does not answer it.
    documents = (document for turn in transcript.turns for document in turn.documents)
    return float(any(one.contains_answer and one.useful is not False for one in documents))


# Reward terms by name, in [0, 1]; `malformed`, `searches` and `opens` are counts. `think_*` terms
# require a <think> block before every action. `judge` is the verdict of the reward's judge: 1 if
# the answer is correct, 0 if it is not or there is none.
TERMS: dict[str, Term] = {
    "f1": _f1,
    "exact_match": lambda transcript: transcript.scores()["exact_match"],
    "cover_match": lambda transcript: transcript.scores()["cover_match"],
    "rouge_l": _rouge_l,
    "judge": _judge,
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
    "opens": lambda transcript: float(transcript.num_opens),
}


@dataclass(frozen=True, slots=True)
class Reward:
    """A weighted sum of terms.

    Attributes:
        weights: (name, weight) pairs; a negative weight is a cost. The name is one of `TERMS`, or
            "module:name" of a function from a transcript to a number.
        judge: judges the answers for the term "judge"; only with that term.

    Raises:
        ValueError: if a term is unknown or repeated, a weight is not a finite number, or the judge
            or its term is missing.
    """

    weights: tuple[tuple[str, float], ...]
    judge: Judge | None = None

    def __post_init__(self) -> None:
        names = [name for name, _ in self.weights]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"got reward terms {names}, expected at least one term and each only once"
            )
        for name in names:
            _term(name)
        if ("judge" in names) != (self.judge is not None):
            raise ValueError(
                f"got reward terms {names} and judge={self.judge!r}, expected the term 'judge' and "
                "a judge together: {'terms': {'judge': 1}, 'judge': {'generator': {...}}}"
            )
        weights = [
            (name, as_float(f"the weight of reward term {name!r}", weight))
            for name, weight in self.weights
        ]
        object.__setattr__(self, "weights", tuple(weights))

    def __call__(self, transcript: Transcript) -> dict[str, float]:
        """Return the weighted terms. The verdict is that of the transcript; no judge is called.

        Raises:
            ValueError: if a function of a user returns no finite number.
        """
        return {name: weight * _value(name, transcript) for name, weight in self.weights}

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return the JSON value from which `build_reward` builds an equal reward.

        Raises:
            ValueError: if the reward has a judge.
        """
        if self.judge is not None:
            raise ValueError("a reward with a judge has no JSON value; store what it was built of")
        return {"terms": dict(self.weights)}


def _value(name: str, transcript: Transcript) -> float:
    value = _term(name)(transcript)
    if name in TERMS or isinstance(value, bool):
        return value
    return as_float(f"the reward term {name!r}", value)


def _term(name: str) -> Term:
    return TERMS[name] if name in TERMS else _imported_term(name)


@lru_cache
def _imported_term(name: str) -> Term:
    if ":" not in name:
        raise unknown_name("reward term", name, TERMS)
    from zs_env.config.spec import import_named  # `zs_env.config` imports this module

    term = import_named("reward term", name)
    if not callable(term):
        raise ValueError(
            f"reward term {name!r} is {term!r}, expected a function from a transcript to a number"
        )
    return cast(Term, term)


PRESETS: dict[str, Reward] = {
    # ZeroSearch (arXiv:2505.04588), section 3.5: token F1, no reward for the format.
    "zerosearch": Reward((("f1", 1.0),)),
    # Search-R1 (arXiv:2503.09516), section 3.4: exact match, no reward for the format.
    "search_r1": Reward((("exact_match", 1.0),)),
    # R1-Searcher (arXiv:2503.05592), section 2.3, stage 1: search and format, not the answer.
    "r1_searcher_stage1": Reward((("retrieval", 0.5), ("think_format", 0.5))),
    # R1-Searcher, stage 2: F1, and a penalty for a wrong format that exceeds the F1 of 1.
    "r1_searcher_stage2": Reward((("f1", 1.0), ("think_format_error", -2.0))),
    # ReSearch (arXiv:2503.19470), section 2.4: F1, or 0.1 if F1 is 0 and the format is right.
    "research": Reward((("f1", 1.0), ("think_format_only", 0.1))),
    # DeepResearcher (arXiv:2504.03160), section 3.3: F1, or -1 if the format is wrong.
    "deepresearcher": Reward((("think_format_f1", 1.0), ("think_format_error", -1.0))),
    # DeepSeek-R1 (arXiv:2501.12948), section 2.2: accuracy and format with equal weights.
    "r1": Reward((("exact_match", 1.0), ("think_format", 1.0))),
    # SSRL (arXiv:2508.10874): 1 - l for a correct answer and l for the format. The value l = 0.2
    # was not verified against the paper.
    "ssrl": Reward((("exact_match", 0.8), ("think_format", 0.2))),
}


def build_reward(spec: str | Mapping[str, object]) -> Reward:
    """Build a reward from a JSON value.

    Args:
        spec: a name of `PRESETS`, or `{"terms": {name: weight, ...}}`; a key `"preset"` adds the
            terms of that preset. With the term "judge", a key `"judge"` has the arguments of
            `zs_env.judge.Judge`: `{"generator": {"kind": "server", ...}, "timeout_s": 30}`.

    Raises:
        ValueError: if a name is unknown or the value has another form.
    """
    if isinstance(spec, str):
        spec = {"preset": spec}
    if not isinstance(spec, Mapping) or not spec or set(spec) - {"preset", "terms", "judge"}:
        raise ValueError(
            f"got the reward {spec!r}, expected a preset's name or {{'terms': {{name: weight}}}}"
        )
    weights: dict[str, float] = {}
    if "preset" in spec:
        preset = spec["preset"]
        if not isinstance(preset, str) or preset not in PRESETS:
            raise unknown_name("reward preset", preset, PRESETS)
        weights |= PRESETS[preset].weights
    terms = spec.get("terms", {})
    if not isinstance(terms, Mapping):
        raise ValueError(f"got {terms!r} as 'terms' of a reward, expected {{name: weight}}")
    judge: Any = spec.get("judge")
    if isinstance(judge, Mapping):
        judge = _build_judge(judge)
    return Reward(tuple((weights | dict(terms)).items()), judge)


def _build_judge(fields: Mapping[str, Any]) -> Judge:
    from zs_env.config.engines import build_generator
    from zs_env.judge import Judge

    check_names("field of a judge", fields, ("generator", *keywords(Judge)))
    if not fields.get("generator"):
        raise ValueError(f"a judge needs a 'generator', the spec of its model; got {dict(fields)}")
    return Judge(**{**fields, "generator": build_generator(fields["generator"])})
