"""A language model policy as an agent for evaluations and `zerosearch ask`.

It keeps the token ids of each episode by `info["episode_id"]`, so later turns continue from the
sampled ids and the generator processes only new tokens.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import count
from typing import Any, Self

import torch

from agents.llm.generators.base import Generation, GenerationRequest, Generator, generate
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy, load_policy
from zs_env.actions import build_tools
from zs_env.text.hashing import stable_hash
from zs_env.text.sanitize import clean_text

_LOG = logging.getLogger(__name__)
_GREEDY = Sampling(temperature=0.0)
# Far more episodes than are ever played at once; the oldest are forgotten.
_MAX_EPISODES = 16384


@dataclass(frozen=True, slots=True)
class _Episode:
    """An episode up to the agent's last turn: its ids, and the length of its transcript."""

    session: int
    token_ids: tuple[int, ...]
    num_chars: int


class PolicyAgent:
    """Plays with a policy, greedily by default.

    Args:
        policy: encodes and decodes.
        generator: generates the turns; a `TransformersGenerator` by default.
        sampling: temperature and longest turn. Samples depend only on the transcript and `seed`.
        seed: of the samples.

    Attributes:
        name: name or path that the policy was loaded from.
        num_context_full: number of turns that ended because the context was full.
        env_settings: arguments of the environment that it was trained with; {} if unknown.
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
        self.name = policy.name
        self.env_settings = policy.env_settings
        self.sampling = sampling
        self.seed = seed
        self._given_generator = generator
        self._episodes: OrderedDict[int, _Episode] = OrderedDict()
        self._open_sessions: OrderedDict[int, None] = OrderedDict()
        self._new_sessions = count()
        self._largest_batch = 1
        self.num_context_full = 0

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        dtype: str = "float32",
        device: str = "auto",
        sampling: Sampling = _GREEDY,
        seed: int = 0,
    ) -> Self:
        """Load the policy with `load_policy` and return an agent that plays with it."""
        policy = load_policy(name_or_path, dtype=dtype, device=device)
        return cls(policy, sampling=sampling, seed=seed)

    def use_tools(self, tools: Sequence[str]) -> None:
        """End the turns of the next episodes as these tools of an environment need it."""
        if build_tools(tools) != self.policy.tools:
            self.policy.set_tools(tools)
            self.__dict__.pop("_generator", None)

    @cached_property
    def _generator(self) -> Generator:
        return self._given_generator or TransformersGenerator(self.policy)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights, the sampling settings, the seed and the turn format."""
        turn_format = self.policy.turn_format
        settings = f"{self.sampling}{self.seed}{'' if turn_format == 'inline' else turn_format}"
        digest = blake2b(settings.encode(), digest_size=8)
        for name, tensor in sorted(self.policy.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def act(self, observation: Mapping[str, Any], info: Mapping[str, Any] | None = None) -> str:
        """Return the policy's next turn.

        Without an `info["episode_id"]` the whole transcript is encoded as one prompt, in every
        turn format.
        """
        return self.act_batch([observation], [info or {}])[0]

    def act_batch(
        self, observations: Sequence[Mapping[str, Any]], infos: Sequence[Mapping[str, Any]] = ()
    ) -> list[str]:
        """Return the next turn of each of several episodes; see `act`."""
        infos = infos or [{}] * len(observations)
        requests = list(map(self._request, observations, infos))
        turns = generate(self._generator, requests, self.sampling)
        texts = list(map(self._finish_turn, observations, infos, requests, turns))
        self._forget_oldest(len(requests))
        return texts

    def stream(
        self, observation: Mapping[str, Any], info: Mapping[str, Any], show: Callable[[str], None]
    ) -> str:
        """Return the policy's next action, and show its turn while it is generated.

        If the generator has no `partial_turn`, the text is shown as a whole.
        """
        request = self._request(observation, info)
        partial_turn = getattr(self._generator, "partial_turn", None)
        shown = ""

        def show_new_text() -> bool:
            nonlocal shown
            ids = partial_turn(request.session) if partial_turn else ()
            text = self.policy.codec.decode_turn(ids)
            # The last character may be incomplete: it decodes to U+FFFD until its last token.
            if text.startswith(shown) and not text.endswith("\ufffd"):
                show(text[len(shown) :])
                shown = text
            return False

        self._generator.submit([request], self.sampling)
        ended: dict[int, Generation] = {}
        while request.session not in ended:
            ended |= self._generator.poll(show_new_text)
        turn = ended[request.session]
        show(self.policy.codec.decode_turn(turn.token_ids).removeprefix(shown))
        action = self._finish_turn(observation, info, request, turn)
        self._forget_oldest(1)
        return action

    def _request(
        self, observation: Mapping[str, Any], info: Mapping[str, Any]
    ) -> GenerationRequest:
        """Request the next turn: continue a known episode, or encode the transcript as a prompt."""
        transcript, message = observation["transcript"], observation["message"]
        episode = self._episodes.get(info.get("episode_id", -1))
        # An episode that was reset with the same seed has the same id, but a shorter transcript.
        if episode is not None and episode.num_chars + len(message) == len(transcript):
            session = episode.session
            (encoded,) = self.policy.codec.encode_observations([message], [episode.token_ids])
            token_ids = episode.token_ids + encoded
        else:
            session = next(self._new_sessions)
            token_ids = self.policy.codec.encode_prompt(transcript)
        self._open_sessions[session] = None
        self._open_sessions.move_to_end(session)
        seed = stable_hash(f"{self.seed}\0{transcript}")
        return GenerationRequest(session=session, token_ids=token_ids, seed=seed)

    def _finish_turn(
        self,
        observation: Mapping[str, Any],
        info: Mapping[str, Any],
        request: GenerationRequest,
        turn: Generation,
    ) -> str:
        """Keep the ids of the episode and return the action of the turn."""
        text = self.policy.codec.decode_action(turn.token_ids)
        if turn.stop_reason == "context":
            if not self.num_context_full:
                _LOG.warning(
                    "an episode used up the context of %s, %d tokens, before it answered; use "
                    "fewer or shorter documents, fewer turns, or a policy with a longer context",
                    self.name,
                    self._generator.max_context,
                )
            self.num_context_full += 1
        if "episode_id" in info:
            self._episodes[info["episode_id"]] = _Episode(
                session=request.session,
                token_ids=(*request.token_ids, *turn.token_ids),
                num_chars=len(observation["transcript"]) + len(clean_text(text)),
            )
            self._episodes.move_to_end(info["episode_id"])
        return text

    def _forget_oldest(self, batch_size: int) -> None:
        """Release the sessions used longest ago; the token ids of more episodes are kept."""
        self._largest_batch = max(self._largest_batch, batch_size)
        while len(self._open_sessions) > 2 * self._largest_batch:
            self._generator.release([self._open_sessions.popitem(last=False)[0]])
        while len(self._episodes) > _MAX_EPISODES:
            self._episodes.popitem(last=False)
