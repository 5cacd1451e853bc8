"""Names for our environments; importing this package registers them with Gymnasium.

Gymnasium loads no plug-ins since 1.0, so either import it first or write
`gymnasium.make("envs_registry:ZeroSearch-v0")`.
"""

from envs_registry.gymnasium import PRESETS, Preset, find_preset, register_presets

__all__ = ["PRESETS", "Preset", "find_preset"]

register_presets()
