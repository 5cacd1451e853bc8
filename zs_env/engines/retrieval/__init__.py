"""Engines over a passage file: BM25 and dense retrieval."""
