"""A language model as an agent that evaluations can play.

It is shown text and remembers which ids that text came from, so it goes on from the ids it sampled
and its generator reads only what is new.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import count
from typing import Any, Self

import torch

from agents.llm.generators.base import Generation, GenerationRequest, Generator, generate
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy, load_policy
from zs_env.text.sanitize import clean_text

_GREEDY = Sampling(temperature=0.0)
# Texts whose ids are remembered: far more than episodes are ever played at once.
_MAX_REMEMBERED = 16384


@dataclass(slots=True, eq=False)
class _Memory:
    """Ids behind a text, and the sessions of the episodes that have come so far."""

    token_ids: tuple[int, ...]
    sessions: list[int] = field(default_factory=list)


class PolicyAgent:
    """Plays with a policy, greedily by default.

    Args:
        policy: encodes and decodes.
        generator: writes the turns; one on transformers where None is given.
        sampling: how tokens are drawn; the draws follow from the text seen and `seed`.
        seed: of the draws.
    """

    def __init__(
        self,
        policy: Policy,
        generator: Generator | None = None,
        *,
        sampling: Sampling = _GREEDY,
        seed: int = 0,
    ) -> None:
        self.policy = policy
        self.sampling = sampling
        self.seed = seed
        self._generator = generator or TransformersGenerator(policy)
        self._remembered: OrderedDict[str, _Memory] = OrderedDict()
        self._open_sessions: OrderedDict[int, None] = OrderedDict()
        self._names = count()
        self._largest_batch = 1

    @classmethod
    def load(cls, name_or_path: str, *, sampling: Sampling = _GREEDY, seed: int = 0) -> Self:
        """Load the policy as `load_policy` does and play with it."""
        return cls(load_policy(name_or_path), sampling=sampling, seed=seed)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights and of how tokens are drawn."""
        digest = blake2b(f"{self.sampling}{self.seed}".encode(), digest_size=8)
        for name, tensor in sorted(self.policy.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    @property
    def prompt(self) -> str | None:
        """The prompt that the policy was trained with; None where it does not say."""
        return self.policy.prompt

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the policy's next turn."""
        return self.act_batch([observation])[0]

    def act_batch(self, observations: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the next turn of each of several episodes."""
        requests = [self._request(observation) for observation in observations]
        generations = generate(self._generator, requests, self.sampling)
        texts = [
            self._take(observation, request, generation)
            for observation, request, generation in zip(
                observations, requests, generations, strict=True
            )
        ]
        self._forget(len(requests))
        return texts

    def stream(self, observation: Mapping[str, Any], show: Callable[[str], None]) -> str:
        """Return the policy's next turn, and show its text while it is written.

        A generator that cannot say what it has written so far has the text shown as a whole.
        """
        request = self._request(observation)
        written = getattr(self._generator, "written", None)
        shown = ""

        def look() -> bool:
            nonlocal shown
            text = self.policy.decode_action(written(request.session)) if written else ""
            # A character may take several tokens; until the last it reads as U+FFFD.
            if text.startswith(shown) and not text.endswith("\ufffd"):
                show(text[len(shown) :])
                shown = text
            return False

        self._generator.submit([request], self.sampling)
        ended: dict[int, Generation] = {}
        while request.session not in ended:
            ended |= self._generator.poll(look)
        text = self._take(observation, request, ended[request.session])
        show(text.removeprefix(shown))
        self._forget(1)
        return text

    def _take(
        self, observation: Mapping[str, Any], request: GenerationRequest, generation: Generation
    ) -> str:
        """Return a turn's text, and remember which ids stand behind what has come of it."""
        text = self.policy.decode_action(generation.token_ids)
        seen = observation["transcript"] + clean_text(text)
        ids = (*request.token_ids, *generation.token_ids)
        self._remembered.setdefault(seen, _Memory(ids)).sessions.append(request.session)
        return text

    def _request(self, observation: Mapping[str, Any]) -> GenerationRequest:
        """Continue the episode whose text this is; an unknown text is read as a first message."""
        transcript, message = observation["transcript"], observation["message"]
        memory = self._remembered.get(transcript.removesuffix(message))
        if memory is None:
            token_ids = self.policy.encode_prompt(transcript)
        else:
            token_ids = memory.token_ids + self.policy.encode_environment(message)
        session = memory.sessions.pop() if memory and memory.sessions else next(self._names)
        self._open_sessions[session] = None
        self._open_sessions.move_to_end(session)
        digest = blake2b(f"{self.seed}\0{transcript}".encode(), digest_size=8).digest()
        return GenerationRequest(
            session=session, token_ids=token_ids, seed=int.from_bytes(digest, "little")
        )

    def _forget(self, batch_size: int) -> None:
        """Let go of the oldest sessions, most of them over; ids outlive a session's cache."""
        self._largest_batch = max(self._largest_batch, batch_size)
        while len(self._open_sessions) > 2 * self._largest_batch:
            self._generator.release([self._open_sessions.popitem(last=False)[0]])
        while len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)
