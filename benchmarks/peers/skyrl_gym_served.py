"""Identical episodes of skyrl-gym's search environment against a server; prints one JSON object.

Takes the server's URL and the number of episodes.
"""

from __future__ import annotations

import json
import logging
import sys

from skyrl_gym_search import start
from workload import ACTIONS


def main() -> None:
    logging.disable(logging.CRITICAL)
    url, episodes = sys.argv[1], int(sys.argv[2])
    seen = []
    for _ in range(episodes):
        step = start(url)
        outputs = [step(action) for action in ACTIONS]
        assert outputs[-1]["done"] and outputs[-1]["reward"] == 1.0, outputs[-1]
        seen.append([output["observations"][0]["content"] for output in outputs[:-1]])
    print(json.dumps({"observations": seen}))


if __name__ == "__main__":
    main()
