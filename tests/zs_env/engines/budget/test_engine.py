"""The cost of every page is counted, and no budget is exceeded."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from zs_env.engines import CachedEngine, MeteredEngine
from zs_env.env import ZeroSearchEnv
from zs_env.questions.question import Question
from zs_env.search.client import EngineClient
from zs_env.search.engine import search_checked
from zs_env.search.prices import PriceTable, cost_table, prices_from_json
from zs_env.search.types import (
    BudgetExceeded,
    Document,
    SearchCost,
    SearchError,
    SearchPage,
    SearchRequest,
)

PRICES = PriceTable(prompt_tokens=1.0, completion_tokens=2.0, hour=3.6, search=0.01)
# A page of the engine below: 1e6 * $1/1e6 + 500k * $2/1e6 + 10 s * $3.6/h.
PAGE_DOLLARS = 1.0 + 1.0 + 0.01


class Costly:
    name = fingerprint = "costly"

    def __init__(self, tokens=1_000_000):
        self.asked = 0
        self.tokens = tokens

    def search(self, requests):
        self.asked += len(requests)
        cost = SearchCost(
            calls=1, prompt_tokens=self.tokens, completion_tokens=self.tokens // 2, seconds=10.0
        )
        return [
            SearchError("none") if request.query == "bad" else SearchPage((Document("x"),), cost)
            for request in requests
        ]


def requests(*queries):
    return [SearchRequest(query, None, None, (True,), 1) for query in queries]


def test_every_page_goes_to_the_ledger(tmp_path):
    path = tmp_path / "run" / "costs.jsonl"
    meter = MeteredEngine(CachedEngine(Costly()), prices=PRICES, path=path)
    meter.search(requests("a", "b", "bad"))
    meter.search(requests("a"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["cached"] for row in rows] == [False, False, True]
    assert [row["prompt_tokens"] for row in rows] == [1_000_000, 1_000_000, 0]
    costs = meter.costs
    assert (costs.batches, costs.searches, costs.calls) == (2, 4, 2)
    assert (costs.failures, costs.cached) == (1, 1)
    assert meter.spent == pytest.approx(2 * PAGE_DOLLARS)
    assert PRICES.compare(costs) == pytest.approx({"simulated": 4.02, "bought": 0.02})


def test_a_budget_is_never_overspent():
    engine = Costly()
    meter = MeteredEngine(engine, prices=PRICES, budget=5.0)
    meter.search(requests("a", "b"))
    with pytest.raises(BudgetExceeded, match=r"\$4\.02.*\$5\.0.*1 searches may cost \$2\.01"):
        meter.search(requests("c"))
    assert engine.asked == 2


def test_a_first_batch_that_is_too_dear_stops_after_one_search():
    engine = Costly()
    meter = MeteredEngine(engine, prices=PRICES, budget=5.0)
    with pytest.raises(BudgetExceeded):
        meter.search(requests("a", "b", "c"))
    assert engine.asked == 1


def test_calls_at_the_same_time_share_one_budget():
    engine = Costly()
    meter = MeteredEngine(engine, prices=PRICES, budget=7 * PAGE_DOLLARS)
    meter.search(requests("first"))
    together = Barrier(20)

    def ask(number):
        together.wait()
        try:
            return len(meter.search(requests(str(number))))
        except BudgetExceeded:
            return 0

    with ThreadPoolExecutor(20) as threads:
        asked = sum(threads.map(ask, range(20)))
    assert asked <= 6 and meter.spent <= meter.budget
    assert engine.asked == asked + 1 and meter._reserved == pytest.approx(0.0)


def test_a_first_page_from_a_cache_tells_no_price():
    engine = Costly()
    cache = CachedEngine(engine)
    cache.search(requests("known"))
    meter = MeteredEngine(cache, prices=PRICES, budget=2.5 * PAGE_DOLLARS)
    with pytest.raises(BudgetExceeded):
        meter.search(requests("known", *map(str, range(10))))
    assert engine.asked == 2 and meter.spent == pytest.approx(PAGE_DOLLARS)


def test_what_is_paid_by_the_call_uses_a_budget_up():
    class ByTheCall(Costly):
        def search(self, requests):
            self.asked += len(requests)
            return [SearchPage((), SearchCost(calls=1)) for _ in requests]

    engine = ByTheCall()
    meter = MeteredEngine(engine, prices=PriceTable(call=0.01), budget=0.055)
    for number in range(5):
        meter.search(requests(str(number)))
    with pytest.raises(BudgetExceeded):
        meter.search(requests("one more"))
    assert engine.asked == 5 and meter.spent == pytest.approx(0.05)


def test_a_budget_that_nothing_can_use_up_is_refused():
    with pytest.raises(ValueError, match="a budget needs prices"):
        MeteredEngine(Costly(), prices=PriceTable(search=1.0), budget=1.0)


def test_what_a_ledger_holds_counts_against_the_budget(tmp_path):
    path = tmp_path / "costs.jsonl"
    MeteredEngine(Costly(), prices=PRICES, path=path).search(requests("a", "b"))
    with path.open("a") as ledger:
        ledger.write('{"calls": 1, "pro')  # a process was killed here
    meter = MeteredEngine(Costly(), prices=PRICES, budget=5.0, path=path)
    assert meter.spent == pytest.approx(2 * PAGE_DOLLARS)
    with pytest.raises(BudgetExceeded):
        meter.search(requests("c"))


def test_meters_with_one_ledger_have_one_budget(tmp_path):
    path = tmp_path / "costs.jsonl"
    one, other = (MeteredEngine(Costly(), prices=PRICES, budget=5.0, path=path) for _ in range(2))
    one.search(requests("a"))
    other.search(requests("b"))
    assert one.search(requests()) == [] and one.spent == other.spent
    for meter in (one, other, pickle.loads(pickle.dumps(one))):
        with pytest.raises(BudgetExceeded):
            meter.search(requests("c"))


def test_a_line_that_was_torn_off_leaves_the_ledger_readable(tmp_path):
    path = tmp_path / "costs.jsonl"
    for torn in ('{"calls": 1, "pro', "", "{"):
        MeteredEngine(Costly(), prices=PRICES, path=path).search(requests("a"))
        with path.open("a") as ledger:
            ledger.write(torn)
    assert MeteredEngine(Costly(), prices=PRICES, path=path).spent == pytest.approx(
        3 * PAGE_DOLLARS
    )
    torn_from_the_start = tmp_path / "new.jsonl"
    torn_from_the_start.write_text("{")
    MeteredEngine(Costly(), path=torn_from_the_start).search(requests("a"))
    assert MeteredEngine(Costly(), prices=PRICES, path=torn_from_the_start).spent > 0


def test_another_file_is_not_a_ledger(tmp_path):
    path = tmp_path / "notes.txt"
    for text in ("hello\n", "hello", '{"name": 1}', "{}"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"notes\.txt, line 1: expected a line of a ledger"):
            MeteredEngine(Costly(), path=path)


def test_a_ledger_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    meter = MeteredEngine(Costly(), path=tmp_path / "file" / "costs.jsonl")
    with pytest.raises(SearchError, match="cannot be written"):
        meter.search(requests("a"))


def test_a_budget_whose_ledger_cannot_be_written_ends_the_run_after_one_call(tmp_path):
    (tmp_path / "file").touch()
    engine = Costly()
    path = tmp_path / "file" / "costs.jsonl"
    meter = MeteredEngine(engine, prices=PRICES, budget=100.0, path=path)
    with pytest.raises(BudgetExceeded, match="cannot be written"):
        search_checked(meter, requests("a", "b", "c", "d"))
    assert engine.asked == 1 and meter.spent == pytest.approx(PAGE_DOLLARS)


@pytest.mark.parametrize("in_process", [False, True])
def test_a_spent_budget_ends_the_run_and_not_an_episode(in_process):
    engine = Costly()
    engine.in_process = in_process
    meter = MeteredEngine(engine, prices=PRICES, budget=3.0)
    env = ZeroSearchEnv([Question(id="1", text="Who?", answers=("Ada",))], meter, max_turns=9)
    env.reset(seed=0)
    env.step("<search>a</search>")
    with pytest.raises(BudgetExceeded):
        env.step("<search>b</search>")
    env.close()


def test_a_meter_changes_nothing_but_the_account():
    engine = Costly()
    meter = MeteredEngine(engine)
    assert meter.name == "costly" and meter.fingerprint == "costly"
    assert not meter.in_process and not meter.query_only
    assert EngineClient(meter, timeout_s=5).engine is meter
    copy = pickle.loads(pickle.dumps(meter))
    assert len(copy.search(requests("a"))) == 1


def test_prices_are_read_and_checked():
    assert prices_from_json('{"hour": 1.5}') == PriceTable(hour=1.5)
    for text, match in [
        ("{", "JSON object"),
        ("3", "JSON object"),
        ('{"hours": 1}', "hour"),
        ('{"hour": -1}', "not negative"),
    ]:
        with pytest.raises(ValueError, match=match):
            prices_from_json(text)
    with pytest.raises(ValueError, match="budget must be positive"):
        MeteredEngine(Costly(), budget=0)


def test_the_table_shows_both_sides():
    meter = MeteredEngine(Costly(), prices=PRICES)
    meter.search(requests("a", "b"))
    table = cost_table(meter.costs, PRICES)
    assert [next(iter(column.cells)) for column in table.columns][1:] == [
        "2",
        "0",
        "2,000,000",
        "1,000,000",
        "20.0",
        "4.0200",
    ]
    assert list(table.columns[-1].cells) == ["4.0200", "0.0200"]
