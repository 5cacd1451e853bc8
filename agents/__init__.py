"""Agents that search: baselines, evaluation, and token-level RL of language models.

In the order of imports: `storage`, `baselines`, `prompted`, `evaluation`, `llm`, `sb3`, `studies`,
`ask`, `simulator_tuning`, `cli`.
"""
