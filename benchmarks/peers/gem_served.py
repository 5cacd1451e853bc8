"""Identical episodes of gem with its search tool against a server; prints one JSON object.

Takes the server's URL and the number of episodes.
"""

from __future__ import annotations

import json
import logging
import sys

import datasets
from gem_search import make
from workload import ACTIONS


def main() -> None:
    logging.disable(logging.CRITICAL)
    datasets.disable_progress_bars()
    url, episodes = sys.argv[1], int(sys.argv[2])
    env = make(url)
    seen = []
    for _ in range(episodes):
        env.reset()
        outputs = [env.step(action) for action in ACTIONS]
        assert outputs[-1][2] and outputs[-1][1] == 1.0, outputs[-1]
        seen.append([output[0] for output in outputs[:-1]])
    print(json.dumps({"observations": seen}))


if __name__ == "__main__":
    main()
