"""Side-by-side measurements against the peers; none asserts anything about time."""
