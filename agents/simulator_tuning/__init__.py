"""Tunes a language model to generate the pages of a search engine."""
