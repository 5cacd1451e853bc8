"""The environments under the names and interfaces of other frameworks.

The ids are registered with Gymnasium by `import zs_env`, and so by importing this package too.
"""

from zs_env.config import PRESETS, Preset, find_preset

__all__ = ["PRESETS", "Preset", "find_preset"]
