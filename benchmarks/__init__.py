"""Measurements, where possible beside other packages; none asserts anything about time."""
