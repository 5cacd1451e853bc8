"""The flag for the tools of the agent, shared by all commands that play episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zs_env.actions import build_tools
from zs_env.text.numbers import as_int


@dataclass(frozen=True, kw_only=True)
class ToolsFlag:
    """What the agent can do besides answering.

    Attributes:
        tools: search; or search,open if the agent may also read a document of the last page in
            full. The search only by default.
        max_queries: most queries of a search, one a line; 1 by default.
    """

    tools: str | None = None
    max_queries: int | None = None

    def tool_settings(self) -> dict[str, Any]:
        """Return what is given as arguments of an environment, in JSON values; {} by default.

        Raises:
            ValueError: if a tool is unknown, or `max_queries` is below 1.
        """
        settings: dict[str, Any] = {}
        if self.tools is not None:
            settings["tools"] = list(build_tools(self.tools))
        if self.max_queries is not None:
            settings["max_queries"] = as_int("max_queries", self.max_queries, low=1)
        return settings
