"""What searches cost in money, beside what a commercial search engine would have taken for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from zs_env.search.client import Costs
from zs_env.text.suggestions import make_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices in US dollars, and the day they were looked up.

    Attributes:
        prompt_tokens: per million tokens that a simulator reads.
        completion_tokens: per million tokens that it writes.
        hour: per hour that its machine works; 1.475 is an A100 of the original's cost table.
        call: per call of a service that is paid by the call, such as Google through SerpAPI.
        search: per search of the engine that a simulator stands in for, to compare with. The
            default is what the original paid SerpAPI for Google: $586.70 for 64,000 searches
            (arXiv:2505.04588, table 5).
        date: when these prices held.

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

    def of(self, costs: Costs) -> float:
        """Return the dollars that searches took."""
        return (
            costs.calls * self.call
            + costs.prompt_tokens * self.prompt_tokens / 1e6
            + costs.completion_tokens * self.completion_tokens / 1e6
            + costs.seconds * self.hour / 3600
        )

    @property
    def all_free(self) -> bool:
        """Whether nothing that a search can take has a price."""
        return not (self.prompt_tokens or self.completion_tokens or self.hour or self.call)

    def compare(self, costs: Costs) -> dict[str, float]:
        """Return the dollars taken, and what the engine compared with would have taken.

        That engine is given the same cache: only searches that reached the simulator count.
        """
        asked = costs.searches - costs.cached - costs.failures
        return {"simulated": self.of(costs), "bought": max(asked, 0) * self.search}


def prices_from_text(text: str) -> Prices:
    """Read prices from a JSON object.

    Raises:
        ValueError: if it is none, or has a field that does not exist.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"prices are a JSON object, got {text!r}: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f'prices are a JSON object, such as {{"hour": 1.475}}, got {text!r}')
    return make_named("price", Prices, values)


def cost_table(costs: Costs | Mapping[str, Any], prices: Prices) -> Table:
    """Lay out what searches took: searches, tokens, seconds and dollars."""
    if not isinstance(costs, Costs):
        costs = Costs(**costs)
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
