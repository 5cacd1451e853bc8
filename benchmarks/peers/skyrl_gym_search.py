"""skyrl-gym's search environment under our workload; prints one JSON object.

"memory" answers its HTTP client inside the process, which is more than it offers; "loopback" is how
it ships.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from skyrl_gym.envs.search.env import SearchEnv, SearchEnvConfig
from skyrl_gym.tools.search import SearchToolGroup
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

RESULT = {"result": [[{"document": {"contents": text}, "score": 1.0} for text in DOCUMENTS]]}


class Response:
    status_code = 200

    def raise_for_status(self) -> None:
        pass

    def json(self) -> Any:
        return RESULT


class Session:
    """Stands where `requests.Session` stands."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s, self.calls = latency_s, 0

    def post(self, *args: Any, **kwargs: Any) -> Response:
        self.calls += 1
        if self.latency_s:
            time.sleep(self.latency_s)
        return Response()


def start(url: str, *, max_turns: int = 6) -> Step:
    env = SearchEnv(
        SearchEnvConfig(search_url=url, topk=len(DOCUMENTS)),
        {"reward_spec": {"ground_truth": {"target": [ANSWER]}}, "max_turns": max_turns},
    )
    env.init([{"role": "user", "content": QUESTION}])
    return env.step


def in_process(latency_s: float = 0.0) -> tuple[Session, str]:
    """Answer the pooled HTTP client of a made-up address from memory."""
    session, url = Session(latency_s), "http://in-process"
    SearchToolGroup._session_pool[url] = session
    return session, f"{url}/retrieve"


def main() -> None:
    logging.disable(logging.CRITICAL)
    _, url = in_process()
    memory = steps_per_second(lambda: start(url), episodes=700)
    session, url = in_process()
    play_identical(lambda: start(url), episodes=5)
    _, slow_url = in_process(LATENCY_S)
    slow = threaded_searches_per_second(lambda: start(slow_url, max_turns=1000), searches=30)
    server = StubServer(json.dumps(RESULT).encode())
    loopback = steps_per_second(lambda: start(server.url), episodes=60)
    server.close()
    figures = {"memory": memory, "loopback": loopback, "slow": slow, "calls": session.calls}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
