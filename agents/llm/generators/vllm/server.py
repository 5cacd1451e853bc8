"""The generator on vLLM servers, which receive and return token ids over HTTP.

All turns of an episode go to one server, so that its prefix cache holds the episode.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from agents.llm.generators.base import GenerationError, GenerationRequest
from agents.llm.generators.sampling import Sampling
from agents.llm.generators.vllm.turns import VLLMGeneratorBase
from agents.llm.generators.vllm.weight_sync import FolderSync, NCCLSync
from agents.llm.policy.policy import Policy
from zs_env.search.http_client import HTTPLoop, RequestFailed, base_urls, excerpt

_POLL_S = 0.005
_TRIES, _BACKOFF_S = 3, 0.5
_CONTROL_TIMEOUT_S = 30.0

_Tokens = tuple[Sequence[int], Sequence[float]]  # ids and logprobs of a turn


class VLLMServerGenerator(VLLMGeneratorBase):
    """Generates with vLLM's OpenAI-compatible servers; needs aiohttp.

    The servers must run the policy's own model with `--generation-config vllm`, and with
    `--logprobs-mode processed_logprobs` if the temperature is not 1. If the environment variable
    ZEROSEARCH_API_KEY is set, it is sent as the bearer token. On a CPU, vLLM 0.32 loads only part
    of the new weights into a model with a tied head: serve a folder written by
    `Policy.save_merged` there.

    Args:
        policy: the policy; its weights are sent at once.
        servers: base URLs, such as "http://127.0.0.1:8000/v1".
        weights: sends weights to the servers; None if another process does.
        max_context: longest sequence in tokens, at most the limits of policy and servers.
        turn_deadline_s: longest time for a turn in seconds, including retries.
        connect_timeout_s: longest time to connect in seconds.

    Raises:
        ValueError: if there is no server, or a URL is not http(s).
        GenerationError: if a server does not answer, serves several models, or did not confirm the
            weights.
    """

    def __init__(
        self,
        policy: Policy,
        servers: Sequence[str],
        *,
        weights: FolderSync | NCCLSync | None = None,
        max_context: int | None = None,
        turn_deadline_s: float = 600.0,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self.urls = base_urls(servers)
        self.turn_deadline_s = turn_deadline_s
        self._weights = weights
        self._http = HTTPLoop(connect_timeout_s=connect_timeout_s)
        weakref.finalize(self, self._http.stop)
        self._ended: SimpleQueue[Future[_Tokens]] = SimpleQueue()
        cards = [self._only_model(url) for url in self.urls]
        self._models = [str(card["id"]) for card in cards]
        limits = [card["max_model_len"] for card in cards if card.get("max_model_len")]
        longest = min([max_context or policy.max_context, policy.max_context, *limits])
        super().__init__(policy, max_context=longest)
        self._scales_logprobs: bool | None = None  # whether logprobs depend on the temperature
        self._send_weights()

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        """Start one turn for each request.

        Raises:
            ValueError: also if the servers' logprobs ignore the temperature.
        """
        if requests and sampling.temperature not in (0.0, 1.0):
            self._check_temperature(requests[0])
        super().submit(requests, sampling)

    def _start(self, request: GenerationRequest, sampling: Sampling) -> Future[_Tokens]:
        turn = self._http.submit(self._turn(request, sampling))
        turn.add_done_callback(self._ended.put)
        return turn

    def _advance(self) -> Iterator[tuple[Future[_Tokens], Sequence[int], Sequence[float]]]:
        with suppress(Empty):
            turn = self._ended.get(timeout=_POLL_S)
            while True:
                if turn in self._open:  # else its session was released
                    yield turn, *turn.result()
                turn = self._ended.get_nowait()

    def _cancel(self, keys: list[Future[_Tokens]]) -> None:
        for turn in keys:
            turn.cancel()  # closes the connection, so that the server aborts the turn

    def _send_weights(self) -> None:
        if self._weights is not None:
            self._weights.send(self.policy)

    async def _turn(self, request: GenerationRequest, sampling: Sampling) -> _Tokens:
        place = request.session % len(self.urls)
        body = {
            "model": self._models[place],
            "prompt": list(request.token_ids),
            "return_token_ids": True,
            **self._sampling_params(request, sampling),
        }
        choice = await self._request_turn(self.urls[place], body)
        processed = choice.get("prompt_token_ids")
        if processed is not None and list(processed) != body["prompt"]:
            raise GenerationError(
                f"{self.urls[place]} processed {len(processed)} prompt ids that differ from the "
                f"{len(body['prompt'])} ids it received; serve a model that keeps token ids"
            )
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or ()
        return choice.get("token_ids") or (), logprobs

    async def _request_turn(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the first choice; retry after temporary failures."""
        until = time.monotonic() + self.turn_deadline_s
        for number in range(1, _TRIES + 1):
            left = until - time.monotonic()
            try:
                answer = await self._http.request(
                    "POST", f"{url}/completions", max(left, 0.001), dict(body)
                )
                return dict(answer["choices"][0])
            except (KeyError, IndexError, TypeError, ValueError):
                raise GenerationError(f"{url} answered without a choice") from None
            except RequestFailed as failure:
                # A server that restarts may have other weights, so it is not asked again.
                gone = failure.reason == "connection"
                if failure.final or gone or number == _TRIES or left <= _BACKOFF_S:
                    raise GenerationError(
                        f"no turn from {url} within {number} tries and a deadline of "
                        f"{self.turn_deadline_s:g} s: {failure}; start the server again and "
                        "continue with --resume"
                    ) from None
                await asyncio.sleep(_BACKOFF_S)
        raise AssertionError("the last try returns or raises")

    def _only_model(self, url: str) -> dict[str, Any]:
        """Return the description of the only model of a server."""
        answer = self._call("GET", f"{url}/models")
        models = [row for row in answer.get("data") or () if isinstance(row, dict)]
        if len(models) != 1:
            raise GenerationError(
                f"{url} serves the models {[model.get('id') for model in models]}, expected one"
            )
        return models[0]

    def _check_temperature(self, request: GenerationRequest) -> None:
        """Raise a ValueError if the server's logprobs do not depend on the temperature."""
        if self._scales_logprobs is None:
            peaks = [self._peak(request, temperature) for temperature in (1.0, 2.0)]
            self._scales_logprobs = peaks[0] != peaks[1]
        if not self._scales_logprobs:
            raise ValueError(
                f"{self.urls[0]} reports logprobs of temperature 1 at every temperature; start it "
                "with --logprobs-mode processed_logprobs, or train with temperature=1"
            )

    def _peak(self, request: GenerationRequest, temperature: float) -> float:
        """Highest logprob of the next token."""
        sampling = Sampling(temperature=temperature, max_new_tokens=1)
        params = {**self._sampling_params(request, sampling), "logprobs": 1, "max_tokens": 1}
        body = {"model": self._models[0], "prompt": list(request.token_ids)[:-1] or [0], **params}
        answer = self._call("POST", f"{self.urls[0]}/completions", body)
        try:
            return max(answer["choices"][0]["logprobs"]["top_logprobs"][0].values())
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise GenerationError(
                f"the answer of {self.urls[0]} has no top_logprobs: {excerpt(answer)}; serve the "
                "policy's model with vLLM"
            ) from None

    def _call(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = self._http.request(method, url, _CONTROL_TIMEOUT_S, body)
        try:
            return self._http.submit(request).result(timeout=2 * _CONTROL_TIMEOUT_S)
        except RequestFailed as failure:
            raise GenerationError(
                f"{url} does not answer: {failure}; start a vLLM server with the policy's model "
                "there, or pass another URL"
            ) from None
