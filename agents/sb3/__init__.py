"""Reinforcement learning with stable-baselines3 on a discrete view of the environment.

A small network learns when to search, with which query, and which name to answer. It does not read
or write: queries and answers are taken from the text, and it sees a few numbers about each.
"""
