"""gem's question answering environment with its search tool, under our workload; prints JSON.

"memory" answers its HTTP client inside the process, which is more than it offers; "loopback" is how
it ships.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import datasets
import gem.tools.search_tool as search_tool
import msgspec
from gem.envs.qa_env import QaEnv
from gem.tools.tool_env_wrapper import ToolEnvWrapper
from workload import (
    ANSWER,
    DOCUMENTS,
    LATENCY_S,
    QUESTION,
    Step,
    StubServer,
    play_identical,
    steps_per_second,
    threaded_searches_per_second,
)

BODY = msgspec.msgpack.encode(
    {"result": [{"document": {"contents": f"title\n{text}"}} for text in DOCUMENTS]}
)
ROWS = datasets.Dataset.from_list([{"question": QUESTION, "answer": ANSWER}])


class Response:
    content = BODY

    def raise_for_status(self) -> None:
        pass


class Requests:
    """Stands where the module `requests` stands."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s, self.calls = latency_s, 0

    def post(self, *args: Any, **kwargs: Any) -> Response:
        self.calls += 1
        if self.latency_s:
            time.sleep(self.latency_s)
        return Response()


def make(url: str, *, max_tool_uses: int = 10) -> ToolEnvWrapper:
    tool = search_tool.SearchTool(search_url=url, topk=len(DOCUMENTS))
    return ToolEnvWrapper(QaEnv(dataset=ROWS), [tool], max_tool_uses=max_tool_uses)


def starter(env: ToolEnvWrapper) -> Step:
    env.reset()
    return env.step


def main() -> None:
    logging.disable(logging.CRITICAL)
    datasets.disable_progress_bars()
    real, search_tool.requests = search_tool.requests, Requests(0.0)
    env = make("http://in-process")
    memory = steps_per_second(lambda: starter(env), episodes=700)
    counted = search_tool.requests = Requests(0.0)
    play_identical(lambda: starter(env), episodes=5)
    search_tool.requests = Requests(LATENCY_S)
    slow = threaded_searches_per_second(
        lambda: starter(make("http://in-process", max_tool_uses=1000)), searches=30
    )
    search_tool.requests = real
    server = StubServer(BODY)
    env = make(server.url)
    loopback = steps_per_second(lambda: starter(env), episodes=60)
    server.close()
    figures = {"memory": memory, "loopback": loopback, "slow": slow, "calls": counted.calls}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
