"""The flag for the kinds of noise, shared by all commands that play episodes with noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zs_env.noise import build_noise_kinds


@dataclass(frozen=True, kw_only=True)
class NoiseKindsFlag:
    """What noisy documents are.

    Attributes:
        noise_kinds: irrelevant, misleading, conflicting, injected or empty; or JSON weights of
            several kinds, of which one is drawn per search: {"irrelevant": 2, "misleading": 1}.
            irrelevant by default.
    """

    noise_kinds: str | None = None

    def noise_settings(self) -> dict[str, Any]:
        """Return the kinds as an argument of an environment, in JSON values; {} by default.

        Raises:
            ValueError: if a kind is unknown, or the weights are out of range.
        """
        if self.noise_kinds is None:
            return {}
        return {"noise_kinds": dict(build_noise_kinds(self.noise_kinds))}
