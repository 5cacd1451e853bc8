"""Token-level reinforcement learning of language-model policies."""
