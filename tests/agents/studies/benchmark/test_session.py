"""Progress and costs of a session."""

import io

from rich.console import Console

from agents.evaluation import EpisodeResult, Report
from agents.studies.benchmark.cells import BenchmarkSession
from zs_env.search.prices import PriceTable


def _result(index, failure=None):
    return EpisodeResult(
        index=index, reward=0.0, f1=0.5, exact_match=0.0, cover_match=0.0, searches=1, turns=1,
        malformed=0, reason="failure" if failure else "answer", failure=failure,
    )  # fmt: skip


def test_the_total_cost_is_estimated_from_the_episodes_of_this_session():
    output = io.StringIO()
    prices = PriceTable(completion_tokens=1.0)  # a dollar for a million
    with BenchmarkSession(Console(file=output, width=120), 20, prices) as session:
        session.begin_cell("x on nq")
        session.start_cell(10, 6)  # 4 are missing here, and 10 in the next cell
        results = [_result(n) for n in range(6, 9)] + [_result(9, failure="down")]
        for number, result in enumerate(results, start=1):
            session.episode(result)
            session.costs({"searches": number, "completion_tokens": 500_000 * number})
        assert session.summary() == "4 searches, $2.0000 of about $7.0000, 1 failures"
        session.end_cell(Report.of(results, setting={}))
        session.begin_cell("x on mine")
        session.start_cell(10, 0)
        session.episode(_result(0))
        session.costs({"searches": 1, "completion_tokens": 500_000})
        assert session.total_costs.completion_tokens == 2_500_000
    lines = output.getvalue().splitlines()
    assert "6 of 10 episodes were played before" in lines[0]
    assert lines[1].startswith("10/20  x on nq: exact match 0.000")
