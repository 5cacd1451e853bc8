"""Tuning a language model to write the pages of a search engine: collect, judge, build, train."""
