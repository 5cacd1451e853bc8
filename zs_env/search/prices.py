"""The price of searches in US dollars, compared with a commercial search engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from zs_env.search.types import SearchCost
from zs_env.text.suggestions import make_named


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """What calls, tokens and machine time cost, in US dollars.

    Attributes:
        prompt_tokens: per million prompt tokens of a simulator.
        completion_tokens: per million tokens that a simulator generates.
        hour: per hour of the simulator's machine; 1.475 is an A100 in the paper's cost table.
        call: per call of a paid service, such as Google through SerpAPI.
        search: per search of the commercial engine in the comparison. The default is the price of
            Google through SerpAPI in the paper: $586.70 for 64,000 searches (arXiv:2505.04588,
            table 5).
        date: month in which these prices were valid.

    Raises:
        ValueError: if a price is negative.
    """

    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    hour: float = 0.0
    call: float = 0.0
    search: float = 0.00917
    date: str = "2025-05"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "date" and not 0 <= value < float("inf"):
                raise ValueError(f"the price {name} must be finite and not negative, got {value}")

    def dollars(self, costs: SearchCost) -> float:
        """Return the price of searches."""
        return (
            costs.calls * self.call
            + costs.prompt_tokens * self.prompt_tokens / 1e6
            + costs.completion_tokens * self.completion_tokens / 1e6
            + costs.seconds * self.hour / 3600
        )

    @property
    def is_free(self) -> bool:
        """Whether all searches cost 0 dollars."""
        return not (self.prompt_tokens or self.completion_tokens or self.hour or self.call)

    def compare(self, costs: SearchCost) -> dict[str, float]:
        """Return the price of searches ("simulated") and their price at a commercial engine.

        The commercial engine ("bought") is assumed to have the same cache: only searches that
        reached the simulator count.
        """
        bought = costs.searches - costs.cached - costs.failures
        return {"simulated": self.dollars(costs), "bought": max(bought, 0) * self.search}


def prices_from_json(text: str) -> PriceTable:
    """Read prices from a JSON object."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"expected prices as a JSON object, got {text!r}: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(
            f'expected prices as a JSON object, such as {{"hour": 1.475}}, got {text!r}'
        )
    return make_named("price", PriceTable, values)


def cost_table(costs: SearchCost | Mapping[str, Any], prices: PriceTable) -> Table:
    """Return a table of searches, tokens, seconds and dollars."""
    if not isinstance(costs, SearchCost):
        costs = SearchCost(**costs)
    dollars = prices.compare(costs)
    table = Table(title=f"cost of the searches, prices of {prices.date}")
    for name in ("", "searches", "from cache", "prompt tokens", "written tokens", "seconds", "US$"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row(
        "simulated",
        f"{costs.searches:,}",
        f"{costs.cached:,}",
        f"{costs.prompt_tokens:,}",
        f"{costs.completion_tokens:,}",
        f"{costs.seconds:,.1f}",
        f"{dollars['simulated']:,.4f}",
    )
    bought = f"{costs.searches - costs.cached - costs.failures:,}"
    table.add_row("bought", bought, "", "", "", "", f"{dollars['bought']:,.4f}")
    return table
