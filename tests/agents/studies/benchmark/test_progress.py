"""What is shown while a benchmark is played."""

import io

from rich.console import Console

from agents.evaluation import EpisodeResult, Report
from agents.studies.benchmark.cell import Cell
from agents.studies.benchmark.progress import BenchmarkProgress
from zs_env.search.prices import PriceTable


def _result(index, failure=None):
    return EpisodeResult(
        index=index, reward=0.0, f1=0.5, exact_match=0.0, cover_match=0.0, searches=1, turns=1,
        malformed=0, reason="failure" if failure else "answer", failure=failure,
    )  # fmt: skip


def test_the_cost_of_the_whole_is_estimated_from_what_this_session_played():
    output = io.StringIO()
    prices = PriceTable(completion_tokens=1.0)  # a dollar for a million
    with BenchmarkProgress(Console(file=output, width=120), 20, prices) as progress:
        progress.begin(Cell(agent="x", set_name="nq"))
        progress.found(10, 6)  # 4 are left here, and 10 in the next cell
        results = [_result(n) for n in range(6, 9)] + [_result(9, failure="down")]
        for number, result in enumerate(results, start=1):
            progress.episode(result)
            progress.costs({"searches": number, "completion_tokens": 500_000 * number})
        assert progress.spent() == "4 searches, $2.0000 of about $7.0000, 1 failures"
        progress.end(Report.of(results, setting={}))
        progress.begin(Cell(agent="x", set_name="mine"))
        progress.found(10, 0)
        progress.episode(_result(0))
        progress.costs({"searches": 1, "completion_tokens": 500_000})
        assert progress.total_costs.completion_tokens == 2_500_000
    lines = output.getvalue().splitlines()
    assert "6 of 10 episodes were played before" in lines[0]
    assert lines[1].startswith("10/20  x on nq: exact match 0.000")
