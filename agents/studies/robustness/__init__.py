"""Robustness of agents to kinds and levels of noise, as a versioned suite."""
