"""The scores of one episode, from its transcript."""

import gymnasium
import pytest

from agents.evaluation import EpisodeResult
from zs_env import Document, Question
from zs_env.engines import ScriptedEngine
from zs_env.transcripts.rules import Limits

FILLER = "It stands by the river. " * 17  # 408 characters


def play(text, *, title="", answer="Bob"):
    """Search once with noise, answer, and return the result."""
    document = Document(
        text,
        title,
        useful=False,
        noise_kind="misleading",
        metadata=(("wrong_answer", "Bob"),),
    )
    env = gymnasium.make(
        "ZeroSearch-v0",
        questions=[Question(id="q", text="Who built the tower?", answers=("Ann",))],
        engine=ScriptedEngine(
            lambda _: [document],
            supports_noise=True,
            noise_kinds=("irrelevant", "misleading"),
        ),
        noise=1.0,
        noise_kinds="misleading",
        num_documents=1,
        limits=Limits(max_document_chars=300),
    )
    env.reset(seed=0)
    env.step("<search>tower</search>")
    env.step(f"<answer>{answer}</answer>")
    result = EpisodeResult.from_transcript(0, env.unwrapped.transcript())
    env.close()
    assert (result.documents, result.noisy_documents) == (1, 1)
    return result.wrong_answer_shown, result.misled


@pytest.mark.parametrize(
    ("text", "title", "shown"),
    [
        (f"Bob built it. {FILLER}", "", True),
        # The text is cut after 300 characters, before the wrong answer.
        (f"{FILLER[:399]} Bob built it.", "", False),
        (FILLER, "The tower of Bob", True),
        (f"Bobby built it. {FILLER}", "", False),
        (f"Bob's work. {FILLER}", "", True),
    ],
)
def test_a_wrong_answer_counts_only_if_it_is_shown(text, title, shown):
    assert play(text, title=title) == (shown, shown)
    assert play(text, title=title, answer="Eve") == (shown, False)
