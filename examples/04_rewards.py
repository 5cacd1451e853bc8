"""Rewards of published systems, and a custom one.

Prints the reward of one episode (a malformed action, a search, a partly correct answer) for every
preset and for a reward with a cost per search. Takes a second.
"""

from zs_env import Document, Question, SearchEngine, SearchPage, ZeroSearchEnv
from zs_env.rewards import PRESETS, build_reward
from zs_env.transcripts.storage import rescore


class Constant(SearchEngine):
    in_process = True

    def search(self, requests):
        return [SearchPage([Document(text="Ann Lee built it.")]) for _ in requests]


question = Question(id="1", text="Who built it?", answers=("Ann Lee",))
env = ZeroSearchEnv([question], Constant(), num_documents=1)
env.reset(seed=0)
for text in ("Let me see.", "<search>who built it</search>", "<answer>Ann</answer>"):
    env.step(text)
own = {"preset": "zerosearch", "terms": {"searches": -0.05, "malformed": -0.1}}
for name, reward in {**PRESETS, "my own": build_reward(own)}.items():
    scored = rescore(env.transcript(), reward)
    print(f"{name:<20}{scored.reward:+.2f}  {dict(scored.reward_terms)}")
