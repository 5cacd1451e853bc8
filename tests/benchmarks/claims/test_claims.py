"""The verdict on a claim depends on its interval."""

import pytest

from agents.evaluation.statistics import Interval
from benchmarks.claims.arms import ARMS
from benchmarks.claims.claims import CLAIMS, Claim, find


@pytest.mark.parametrize(
    ("low", "high", "better", "as_good"),
    [
        (0.001, 0.1, "holds", "holds"),
        (-0.01, 0.1, "undecided", "holds"),
        (-0.01, 0.01, "does not hold", "holds"),
        (-0.1, 0.1, "undecided", "undecided"),
        (-0.1, 0.01, "does not hold", "undecided"),
        (-0.1, -0.001, "does not hold", "does not hold"),
    ],
)
def test_verdicts(low, high, better, as_good):
    difference = Interval((low + high) / 2, low, high)
    claims = [Claim(part="x", text="", arm="a", other="b", as_good=soft) for soft in (False, True)]
    assert [claim.verdict(difference) for claim in claims] == [better, as_good]


def test_without_data_a_claim_is_undecided():
    claim = Claim(part="x", text="", arm="a", other="b")
    assert claim.verdict(Interval()) == "undecided"


def test_claims_cover_exactly_the_existing_arms():
    assert [claim.part for claim in CLAIMS] == sorted(claim.part for claim in CLAIMS)
    assert {claim.part for claim in CLAIMS} == set("abcdefg")
    assert {name for claim in CLAIMS for name in (claim.arm, claim.other)} == set(ARMS)


def test_a_claim_without_results_is_omitted(make_result):
    arms = {"default": {0: make_result("default", 0, 100)}}
    claim = next(claim for claim in CLAIMS if claim.other == "prompted")
    assert find(claim, arms, ["real engine"]) is None
    finding = find(claim, {**arms, "prompted": {0: make_result("prompted", 0, 20)}}, ["noise 0"])
    assert finding is not None and finding.seeds == 1
    assert finding.differences["noise 0"].mean == pytest.approx(0.8)


@pytest.mark.parametrize(("seeds", "verdict"), [(1, "undecided"), (2, "undecided"), (3, "holds")])
def test_a_verdict_takes_three_seeds(make_result, seeds, verdict):
    arms = {
        arm: {seed: make_result(arm, seed, *[percent] * 9) for seed in range(seeds)}
        for arm, percent in (("default", 100), ("prompted", 20))
    }
    claim = next(claim for claim in CLAIMS if claim.other == "prompted")
    finding = find(claim, arms, ["noise 0"])
    assert finding is not None and finding.verdict == verdict
