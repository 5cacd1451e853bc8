"""Scripted episodes through every adapter of `envs_registry`."""
