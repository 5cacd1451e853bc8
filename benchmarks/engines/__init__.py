"""Benchmarks of search engines."""
