"""The HTML report of evaluations."""
