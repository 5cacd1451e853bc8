"""The claims and the criteria for their verdicts, fixed before any result was known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agents.evaluation.statistics import Interval
from benchmarks.claims.pairing import paired_interval
from benchmarks.claims.results import RunResult

Verdict = Literal["holds", "does not hold", "undecided"]
MARGIN = 0.02  # F1; smaller differences are irrelevant
MIN_SEEDS = 3  # for a verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim about two arms.

    Attributes:
        part: letter of the comparison.
        text: of the claim.
        arm: the arm that is claimed to be better, or as good.
        other: the arm that it is compared with.
        as_good: whether the claim is only that it is not worse.
        published: the paper's mean EM of both arms in percent; "" if it has none.
    """

    part: str
    text: str
    arm: str
    other: str
    as_good: bool = False
    published: str = ""

    def verdict(self, difference: Interval) -> Verdict:
        """Return the verdict for the interval of the difference, arm minus other.

        "Better" holds if the whole interval is above 0, and does not hold if it is below `MARGIN`.
        "As good" does not hold if it is below 0, and holds if it is above -`MARGIN`.
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
        text="masking the tokens of pages beats training on them",
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
        text="one seed for a group beats a seed for each episode",
        arm="default",
        other="own-seed",
    ),
    Claim(
        part="g",
        text="the right question beats the wrong one, if the engine uses queries only",
        arm="default",
        other="wrong-question",
    ),
    Claim(
        part="g",
        text="the right question beats the wrong one, if pages contain its answer",
        arm="default",
        other="wrong-answer",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A claim and its result.

    Attributes:
        claim: the claim.
        seeds: number of seeds that both arms have.
        differences: arm minus other by setting; the first one decides the verdict.
        verdict: "undecided" with fewer than `MIN_SEEDS` seeds.
    """

    claim: Claim
    seeds: int
    differences: Mapping[str, Interval]
    verdict: Verdict


def find(
    claim: Claim, arms: Mapping[str, Mapping[int, RunResult]], settings: list[str]
) -> Finding | None:
    """Compare a claim's arms in all settings; None if one of them has no results."""
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
