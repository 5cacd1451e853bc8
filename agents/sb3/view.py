"""The discrete view: an environment of texts as a vector of numbers and a number of actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, SupportsInt

import gymnasium
import numpy as np
from gymnasium import spaces

from agents.sb3.encoder import Vector, encode, num_features
from agents.sb3.notes import take_notes
from agents.sb3.offers import OfferLimits, Offers, make_offers
from zs_env.env import ZeroSearchEnv


def offers_of(observation: Mapping[str, Any], limits: OfferLimits) -> Offers:
    """Return what an observation offers: it alone decides, so episodes may be played in any order.

    Its question and transcript are read, nothing else.
    """
    return make_offers(take_notes(observation["question"], observation["transcript"]), limits)


class DiscreteSearchView(
    gymnasium.Wrapper[Any, Any, dict[str, Any], str], gymnasium.utils.RecordConstructorArgs
):
    """Offers queries and answers by number, and shows each as numbers.

    ## Action Space
    `Discrete(num_queries + num_answers)`: the number of an offer, see `agents.sb3.offers`. An empty
    place searches for the question as it stands.

    ## Observation Space
    `Box` of 1 dimension in [0, 1], see `agents.sb3.encoder`. All 0 once the episode has terminated:
    nothing is offered any more.

    ## Episode End
    As in the environment, but running out of turns terminates: the turns left are part of what is
    seen, and a learner that takes `truncated` for an interruption would put its own estimate in the
    place of the reward 0 that is due. A failure of the engine still truncates.

    Args:
        env: any environment of ours.
        num_queries: most queries offered, the question included.
        num_answers: most answers offered.

    Raises:
        TypeError: if it wraps another environment.
    """

    def __init__(
        self,
        env: gymnasium.Env[dict[str, Any], str],
        num_queries: int = OfferLimits().num_queries,
        num_answers: int = OfferLimits().num_answers,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, num_queries=num_queries, num_answers=num_answers
        )
        gymnasium.Wrapper.__init__(self, env)
        inner = env.unwrapped
        if not isinstance(inner, ZeroSearchEnv):
            raise TypeError(f"DiscreteSearchView wraps a ZeroSearchEnv, got {inner}")
        self.limits = replace(
            OfferLimits(num_queries=num_queries, num_answers=num_answers),
            max_turns=inner.config.max_turns,
        )
        self._shape = (num_features(self.limits),)
        self.observation_space = spaces.Box(0.0, 1.0, shape=self._shape, dtype=np.float32)
        self.action_space = spaces.Discrete(self.limits.num_offers)  # type: ignore[assignment]
        self._offers: Offers | None = None

    @property
    def offers(self) -> Offers:
        """What is offered now.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        if self._offers is None:
            raise gymnasium.error.ResetNeeded("no episode yet; call reset() first")
        return self._offers

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Start another episode; the options are the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._see(observation), info

    def step(self, action: SupportsInt) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Take the number of an offer."""
        text = self.offers.action(int(action))
        observation, reward, terminated, truncated, info = self.env.step(text)
        if info.get("reason") == "turn_limit":
            terminated, truncated = True, False
        seen = np.zeros(self._shape, dtype=np.float32) if terminated else self._see(observation)
        return seen, float(reward), terminated, truncated, info

    def _see(self, observation: Mapping[str, Any]) -> Vector:
        self._offers = offers_of(observation, self.limits)
        return encode(self._offers)
