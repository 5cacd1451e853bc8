"""Sizes of tests with random inputs. ZEROSEARCH_FUZZ=full runs them in full."""

import os

FULL = os.environ.get("ZEROSEARCH_FUZZ") == "full"


def num_cases(small: int, full: int) -> int:
    """Return the number of random inputs of a test: a small part, or all of them."""
    return full if FULL else small
