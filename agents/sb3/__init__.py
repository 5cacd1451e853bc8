"""Reinforcement learning with stable-baselines3 on a discrete view of the environment.

A small network learns when to search, which query to send and which name to answer. Queries and
answers are taken from the text; nothing is generated.
"""
