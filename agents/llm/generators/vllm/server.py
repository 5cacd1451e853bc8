"""The generator behind vLLM servers: token ids go over HTTP and come back as they were sampled.

An episode stays with one server, whose prefix cache then holds all that the episode has had read.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from torch import Tensor

from agents.llm.generators.base import (
    Generation,
    GenerationError,
    GenerationRequest,
    check_idle,
    check_requests,
    never,
)
from agents.llm.generators.sampling import Sampling
from agents.llm.generators.vllm.turns import VLLMTurns
from agents.llm.policy.policy import Policy
from zs_env.search.http_client import HTTPLoop, RequestFailed, base_url, excerpt

_POLL_S = 0.005
_TRIES, _BACKOFF_S = 3, 0.5
_CONTROL_TIMEOUT_S = 30.0


class WeightSync(Protocol):
    """Brings the policy's weights to where turns are sampled."""

    def send(self, policy: Policy) -> None:
        """Bring them, and have what was computed from others forgotten.

        Raises:
            GenerationError: if they did not arrive within a deadline.
        """
        ...


class VLLMServerGenerator:
    """Generates through vLLM's OpenAI-compatible servers; needs aiohttp.

    The servers run the policy's own model, with `--generation-config vllm`, and with
    `--logprobs-mode processed_logprobs` where the temperature is another than 1. The environment
    variable ZEROSEARCH_API_KEY, where it is set, is sent as the bearer token. On a CPU, vLLM 0.32
    loads new weights into a model with a tied head only in part: serve a folder there that
    `Policy.save_merged` wrote.

    Args:
        policy: whose turns are written; its weights are sent at once.
        servers: base URLs, such as "http://127.0.0.1:8000/v1".
        weights: how weights get to the servers; None where somebody else brings them.
        max_context: longest sequence in tokens; policy's or servers' own limit where smaller.
        turn_deadline_s: seconds for a turn, waiting and new tries included.
        connect_timeout_s: seconds until a connection stands.

    Raises:
        ValueError: if there is no server, or one is no http(s) URL.
        GenerationError: if a server does not answer, serves several models, or did not get the
            weights.
    """

    def __init__(
        self,
        policy: Policy,
        servers: Sequence[str],
        *,
        weights: WeightSync | None = None,
        max_context: int | None = None,
        turn_deadline_s: float = 600.0,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self.policy = policy
        self.urls = [base_url(url) for url in servers]
        if not self.urls:
            raise ValueError("got no server; give the base URL of at least one")
        self.turn_deadline_s = turn_deadline_s
        self._weights = weights
        self._http = HTTPLoop(connect_timeout_s=connect_timeout_s)
        weakref.finalize(self, self._http.stop)
        self._open: dict[int, Future[None]] = {}
        self._tickets: dict[int, int] = {}
        self._ended: SimpleQueue[tuple[int, int, Generation | Exception]] = SimpleQueue()
        cards = [self._only_model(url) for url in self.urls]
        self._models = [str(card["id"]) for card in cards]
        limits = [card["max_model_len"] for card in cards if card.get("max_model_len")]
        self.max_context = min([max_context or policy.max_context, policy.max_context, *limits])
        self._turns = VLLMTurns(policy, max_context=self.max_context)
        self._processed: bool | None = None  # whether logprobs are those of the temperature
        self._number = 0
        self._send_weights()

    def submit(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        """Begin one turn per request, beside those that are being written already.

        Raises:
            ValueError: if a request holds no ids, a turn of its session is being written, or the
                servers' logprobs are not those of the temperature.
        """
        check_requests(requests, self._open)
        if requests and sampling.temperature not in (0.0, 1.0):
            self._check_temperature(requests[0])
        for request in requests:
            self._number += 1
            self._tickets[request.session] = self._number
            self._open[request.session] = self._http.submit(
                self._write(self._number, request, sampling)
            )

    def poll(self, should_yield: Callable[[], bool] = never) -> dict[int, Generation]:
        """Wait until a turn ends or `should_yield()`, and return by session those that have ended.

        Raises:
            GenerationError: if a turn did not come within its deadline.
        """
        ended: dict[int, Generation] = {}
        while self._open and not ended:
            with suppress(Empty):
                self._take(self._ended.get(timeout=_POLL_S), ended)
            while not self._ended.empty():
                self._take(self._ended.get(), ended)
            if should_yield():
                break
        return ended

    def release(self, sessions: Iterable[int]) -> None:
        """Forget sessions that go no further, their turns too; unknown ones are ignored."""
        for name in sessions:
            self._turns.forget(name)
            self._tickets.pop(name, None)
            turn = self._open.pop(name, None)
            if turn is not None:
                turn.cancel()  # the connection closes, and the server gives the turn up

    def load_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Sample from new weights from now on; None where the policy's own model was updated.

        Raises:
            RuntimeError: while turns are being written.
            GenerationError: if they did not reach the servers.
        """
        check_idle(len(self._open))
        if weights is not None:
            self.policy.model.load_state_dict(weights)
        self._send_weights()

    def close(self) -> None:
        """Give up every turn and forget every session."""
        self.release(list(self._open))
        self._turns.forget_all()

    def _send_weights(self) -> None:
        if self._weights is not None:
            self._weights.send(self.policy)

    def _take(
        self, one: tuple[int, int, Generation | Exception], ended: dict[int, Generation]
    ) -> None:
        session, ticket, outcome = one
        if self._tickets.get(session) != ticket:
            return  # it was released meanwhile
        del self._open[session], self._tickets[session]
        if isinstance(outcome, Exception):
            self.close()
            raise outcome
        ended[session] = outcome

    async def _write(self, ticket: int, request: GenerationRequest, sampling: Sampling) -> None:
        """Put a turn, or why there is none, where `advance` looks for it."""
        try:
            outcome: Generation | Exception = await self._turn(request, sampling)
        except Exception as error:
            outcome = error
        self._ended.put((request.session, ticket, outcome))

    async def _turn(self, request: GenerationRequest, sampling: Sampling) -> Generation:
        if self._turns.room(request, sampling) < 1:
            return self._turns.full(request)
        place = request.session % len(self.urls)
        body = {
            "model": self._models[place],
            "prompt": list(request.token_ids),
            "return_token_ids": True,
            **self._turns.fields(request, sampling),
        }
        choice = await self._ask(self.urls[place], body)
        fed = choice.get("prompt_token_ids")
        if fed is not None and list(fed) != body["prompt"]:
            raise GenerationError(
                f"{self.urls[place]} read {len(fed)} ids that are not the {len(body['prompt'])} "
                "ids it was sent; serve a model that takes token ids as they are"
            )
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or ()
        return self._turns.generation(
            request,
            sampling,
            choice.get("token_ids") or (),
            logprobs,
        )

    async def _ask(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the first choice, by another try where a server has failed for the moment."""
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
                # A server that is gone may come back with other weights: better no turn than that.
                gone = failure.reason == "connection"
                if failure.final or gone or number == _TRIES or left <= _BACKOFF_S:
                    raise GenerationError(
                        f"no turn from {url} within {number} tries and a deadline of "
                        f"{self.turn_deadline_s:g} s: {failure}; start the server again and go on "
                        "with --resume"
                    ) from None
                await asyncio.sleep(_BACKOFF_S)
        raise AssertionError("the last try returns or raises")

    def _only_model(self, url: str) -> dict[str, Any]:
        """Return what a server says of the one model that it has."""
        answer = self._get("GET", f"{url}/models", None)
        models = [row for row in answer.get("data") or () if isinstance(row, dict)]
        if len(models) != 1:
            raise GenerationError(
                f"{url} serves the models {[model.get('id') for model in models]}, expected one"
            )
        return models[0]

    def _check_temperature(self, request: GenerationRequest) -> None:
        """Find out once whether logprobs are those of the temperature that was asked for.

        Raises:
            ValueError: if they are those of temperature 1.
        """
        if self._processed is None:
            peaks = [self._peak(request, temperature) for temperature in (1.0, 2.0)]
            self._processed = peaks[0] != peaks[1]
        if not self._processed:
            raise ValueError(
                f"{self.urls[0]} reports logprobs of temperature 1 whatever it samples at; start "
                "it with --logprobs-mode processed_logprobs, or train with temperature=1"
            )

    def _peak(self, request: GenerationRequest, temperature: float) -> float:
        """Highest logprob of the next token."""
        sampling = Sampling(temperature=temperature, max_new_tokens=1)
        fields = {**self._turns.fields(request, sampling), "logprobs": 1, "max_tokens": 1}
        body = {"model": self._models[0], "prompt": list(request.token_ids)[:-1] or [0], **fields}
        answer = self._get("POST", f"{self.urls[0]}/completions", body)
        try:
            return max(answer["choices"][0]["logprobs"]["top_logprobs"][0].values())
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise GenerationError(
                f"{self.urls[0]} answered without top_logprobs: {excerpt(answer)}; serve the "
                "policy's model with vLLM"
            ) from None

    def _get(self, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            return self._http.submit(
                self._http.request(method, url, _CONTROL_TIMEOUT_S, body)
            ).result(timeout=2 * _CONTROL_TIMEOUT_S)
        except RequestFailed as failure:
            raise GenerationError(
                f"{url} does not answer: {failure}; start a vLLM server with the policy's model "
                "there, or name another"
            ) from None
