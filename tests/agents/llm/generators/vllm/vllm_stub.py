"""A server with the part of vLLM's API that the generator uses, on a policy in this process.

It samples past the end of a turn, as a server may that looks at the text only now and then.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from agents.llm.policy.policy import Policy, load_policy


class VLLMStub:
    """A server on a free port of loopback.

    Attributes:
        posts: route and body of every POST, in order.
        fail: gets route and body and may return a status to answer with, or None.
        change: gets the choice about to be sent, and may change it.
        models: names that it lists.
        processed: whether logprobs are those of the temperature.
    """

    def __init__(self, *, max_model_len: int = 256) -> None:
        self.policy: Policy = load_policy("tiny")
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.fail: Callable[[str, dict[str, Any]], int | None] = lambda route, body: None
        self.change: Callable[[dict[str, Any]], None] = lambda choice: None
        self.models = ["tiny"]
        self.processed = True
        self.max_model_len = max_model_len
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def cards(self) -> dict[str, Any]:
        return {"data": [{"id": one, "max_model_len": self.max_model_len} for one in self.models]}

    def answer(self, route: str, body: dict[str, Any]) -> tuple[int, bytes]:
        with self._lock:
            self.posts.append((route, body))
            status = self.fail(route, body)
            if status is not None:
                return status, b'{"error": "as requested"}'
            if route == "/v1/completions":
                return 200, json.dumps({"choices": [self._choice(body)]}).encode()
            if route == "/collective_rpc":
                folder = Path(body["kwargs"]["weights_path"])
                self.policy.model.load_state_dict(
                    load_file(folder / "model.safetensors"), strict=False
                )
            return 200, b""

    @torch.no_grad()
    def _choice(self, body: dict[str, Any]) -> dict[str, Any]:
        ids, temperature = list(body["prompt"]), body["temperature"]
        draws = torch.Generator().manual_seed(body["seed"])
        logprobs: list[float] = []
        tops: list[dict[str, float]] = []
        for _ in range(body["max_tokens"]):
            logits = self.policy.model(torch.tensor([ids])).logits[0, -1].float()
            scaled = torch.log_softmax(logits / (temperature or 1.0), dim=-1)
            shown = scaled if self.processed else torch.log_softmax(logits, dim=-1)
            token = (
                scaled.argmax()
                if temperature == 0
                else scaled.exp().multinomial(1, generator=draws)
            )
            ids.append(int(token))
            logprobs.append(float(shown[ids[-1]]))
            tops.append({"top": float(shown.max()), "own": logprobs[-1]})
        choice = {
            "token_ids": ids[len(body["prompt"]) :],
            "prompt_token_ids": body["prompt"],
            "logprobs": {"token_logprobs": logprobs, "top_logprobs": tops},
        }
        self.change(choice)
        return choice


def _handler(stub: VLLMStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, json.dumps(stub.cards()).encode())

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._send(*stub.answer(self.path, json.loads(raw) if raw else {}))

        def log_message(self, *_: object) -> None:
            pass

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
