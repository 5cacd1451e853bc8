"""What is claimed, and when a claim holds: written down before any result was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agents.evaluation.statistics import Interval
from benchmarks.claims.pairing import paired_interval
from benchmarks.claims.results import RunResult

Verdict = Literal["holds", "does not hold", "undecided"]
MARGIN = 0.02  # F1: what counts as a difference at all
MIN_SEEDS = 3  # that a verdict takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One arm against another.

    Attributes:
        part: letter of the comparison.
        text: what is claimed of `arm`.
        arm: that is said to be better, or as good.
        other: that it is compared with.
        as_good: whether it is said to be no worse only.
        published: the paper's figures, mean EM in per cent; "" where it has none.
    """

    part: str
    text: str
    arm: str
    other: str
    as_good: bool = False
    published: str = ""

    def verdict(self, difference: Interval) -> Verdict:
        """Judge the claim by the interval of arm less other.

        "Better" holds where the whole interval is above 0; else it does not where it is below
        `MARGIN`. "As good" does not hold where it is below 0; else it does where it is above
        -`MARGIN`.
        """
        low, high = difference.low, difference.high
        if low is None or high is None:
            return "undecided"
        if self.as_good:
            return "does not hold" if high < 0 else "holds" if low > -MARGIN else "undecided"
        return "holds" if low > 0 else "does not hold" if high < MARGIN else "undecided"


CLAIMS: tuple[Claim, ...] = (
    Claim(
        part="a",
        text="simulated pages train as well as the real engine",
        arm="default",
        other="real-engine",
        as_good=True,
        published="34.47 / 32.81",
    ),
    Claim(
        part="b",
        text="rising noise beats noise fixed at its mean",
        arm="default",
        other="noise-mean",
    ),
    Claim(
        part="b",
        text="rising noise beats noise fixed at 0.5",
        arm="default",
        other="noise-half",
        published="34.47 / 32.59",
    ),
    Claim(part="b", text="rising noise beats falling noise", arm="default", other="noise-falling"),
    Claim(part="b", text="rising noise beats none", arm="default", other="noise-none"),
    Claim(
        part="c",
        text="masking pages beats learning them",
        arm="default",
        other="unmasked",
        published="36.07 / 34.53",
    ),
    Claim(
        part="d",
        text="REINFORCE beats GRPO",
        arm="reinforce",
        other="default",
        published="34.47 / 33.17",
    ),
    Claim(
        part="d",
        text="REINFORCE beats PPO",
        arm="reinforce",
        other="ppo",
        published="34.47 / 32.67",
    ),
    Claim(part="d", text="GRPO beats PPO", arm="default", other="ppo", published="33.17 / 32.67"),
    Claim(
        part="d",
        text="REINFORCE++ is as good as GRPO",
        arm="reinforce_pp",
        other="default",
        as_good=True,
    ),
    Claim(
        part="e",
        text="RL with search beats RL without",
        arm="default",
        other="no-search",
        published="34.47 / 18.54",
    ),
    Claim(part="e", text="RL with search beats SFT only", arm="default", other="imitation"),
    Claim(
        part="e",
        text="RL with search beats prompting",
        arm="default",
        other="prompted",
        published="34.47 / 8.82",
    ),
    Claim(
        part="f",
        text="luck shared by a group beats luck of one's own",
        arm="default",
        other="own-luck",
    ),
    Claim(
        part="g",
        text="the right question beats the wrong one, where the engine reads queries",
        arm="default",
        other="wrong-question",
    ),
    Claim(
        part="g",
        text="the right question beats the wrong one, where pages tell the answer",
        arm="default",
        other="wrong-answer",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A claim with what came out.

    Attributes:
        claim: what was claimed.
        seeds: that both arms have.
        differences: arm less other by setting, the one that is judged by first.
        verdict: by that one; "undecided" of fewer than `MIN_SEEDS` seeds.
    """

    claim: Claim
    seeds: int
    differences: Mapping[str, Interval]
    verdict: Verdict


def find(
    claim: Claim, arms: Mapping[str, Mapping[int, RunResult]], settings: list[str]
) -> Finding | None:
    """Compare a claim's arms in all settings; None where one of them has no result yet."""
    if claim.arm not in arms or claim.other not in arms:
        return None
    one, other = arms[claim.arm], arms[claim.other]
    differences = {setting: paired_interval(one, other, setting) for setting in settings}
    seeds = len(one.keys() & other.keys())
    return Finding(
        claim=claim,
        seeds=seeds,
        differences=differences,
        verdict="undecided" if seeds < MIN_SEEDS else claim.verdict(differences[settings[0]]),
    )
