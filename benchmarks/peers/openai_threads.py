"""Chat requests as the original sends them: ten threads, and a client of its own for every call.

Takes the server's URL and the number of requests; prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI


def ask(number: int) -> str:
    client = OpenAI(base_url=sys.argv[1], api_key="none")
    messages = [{"role": "user", "content": f"query {number}"}]
    answer = client.chat.completions.create(
        model="stub", messages=messages, max_tokens=600, temperature=0.8
    )
    return answer.choices[0].message.content


def main() -> None:
    count = int(sys.argv[2])
    started = time.perf_counter()
    with ThreadPoolExecutor(10) as threads:
        texts = list(threads.map(ask, range(count)))
    seconds = time.perf_counter() - started
    assert all(text.startswith("Doc 1") for text in texts)
    print(json.dumps({"per_second": count / seconds}))


if __name__ == "__main__":
    main()
