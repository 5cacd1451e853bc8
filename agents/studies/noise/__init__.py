"""Noise sweeps: the scores of agents over the noise level."""
