"""Default episodes stay identical to the bit: recorded digests of episodes, by structure.

`python -m tests.zs_env.tools.test_default_episodes` writes the digests of the current code.
"""

import json
from hashlib import blake2b
from pathlib import Path

import pytest

from agents.baselines import FollowTheHops, RandomWords, SearchEachName
from zs_env.config import make_env
from zs_env.transcripts.serialization import transcript_to_json
from zs_env.world import World, WorldQuestions
from zs_env.world.sample_files import question_with_paragraphs

RECORDED = Path(__file__).with_name("default_episodes.json")
STRUCTURES = ("chain1", "chain2", "chain3", "comparison", "intersection")
KINDS = {"irrelevant": 1, "misleading": 1, "conflicting": 1, "injected": 1, "empty": 1}
NUM_EPISODES = 4
SETTINGS = {
    "world": {"engine": "world", "noise": 0.5},
    "kinds": {"engine": "world", "noise": 0.5, "noise_kinds": KINDS, "prompt": "bare"},
    "documents": {"engine": "world", "noise": 0.5, "noise_draw": "document", "num_documents": 3},
    "bm25": {"engine": "bm25", "limits": {"max_document_chars": 24, "max_action_chars": 60}},
    "paragraphs": {"engine": "paragraphs", "noise": 0.5, "noise_kinds": KINDS},
}
ODD_ACTIONS = ("<open>1</open>", "<search>a\nb</search>", "<open>1</open><search>x</search>")


class OddActions:
    """Writes what is an action only with other settings, then answers."""

    def act(self, observation):
        written = sum(text in observation["transcript"] for text in ODD_ACTIONS)
        return (*ODD_ACTIONS, "<answer>x</answer>")[written]


def digest(structure, setting):
    questions = WorldQuestions(World(3, "heldout"), [structure], seed=5)
    if setting == "paragraphs":
        questions = [question_with_paragraphs(one, questions.world) for one in questions[:8]]
    env = make_env(questions, **SETTINGS[setting])
    found = blake2b(repr((env.observation_space, env.action_space)).encode(), digest_size=16)
    for agent in (FollowTheHops(), RandomWords(), SearchEachName(), OddActions()):
        for seed in range(NUM_EPISODES):
            if isinstance(agent, RandomWords):
                agent.reset(seed)
            observation, info = env.reset(seed=seed)
            steps = [(observation, info)]
            while "reason" not in steps[-1][-1]:
                steps.append(env.step(agent.act(steps[-1][0])))
            found.update(repr(steps).encode())
            found.update(json.dumps(transcript_to_json(env.transcript())).encode())
    return found.hexdigest()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_default_episodes_are_the_recorded_ones(structure, setting):
    assert digest(structure, setting) == json.loads(RECORDED.read_text())[structure][setting]


if __name__ == "__main__":
    digests = {one: {name: digest(one, name) for name in SETTINGS} for one in STRUCTURES}
    RECORDED.write_text(json.dumps(digests, indent=2) + "\n")
