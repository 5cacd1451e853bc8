"""Counterfactuals: the effect of flipping one page of an episode on its reward."""
