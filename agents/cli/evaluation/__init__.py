"""Subcommands that evaluate agents."""
