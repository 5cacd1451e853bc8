"""One episode: reset, search, answer.

Prints a question about a fictional world, the documents of a search, and the reward of an answer.
Takes a second and needs only the base installation.
"""

import gymnasium

import zs_env  # noqa: F401 (registers the ids)

one_hop = {"kind": "world", "structures": ["chain1"]}
env = gymnasium.make("ZeroSearch-v0", questions=one_hop, render_mode="ansi")
observation, info = env.reset(seed=0, options={"noise_probability": 0.0})
query = observation["question"].strip("?")
observation, reward, terminated, truncated, info = env.step(f"<search>{query}</search>")
words = set(query.split())
closest = max(observation["documents"], key=lambda text: len(words & set(text.split())))
answer = closest.rstrip(".").split(" is ")[-1]
observation, reward, terminated, truncated, info = env.step(f"<answer>{answer}</answer>")
print(env.render())
print(f"Reward {reward:.2f}; gold answers: {', '.join(info['answers'])}")
