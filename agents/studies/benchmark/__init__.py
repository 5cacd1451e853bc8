"""Agents beside each other: same questions, same engine, seven data sets, paired comparisons."""
