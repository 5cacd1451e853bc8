"""Compares agents on the same questions and engine: seven data sets, paired differences."""
