"""No replaced name and no private turn of phrase is left in code, tests or docs."""

import re
import subprocess

import pytest

from tests.paths import ROOT

# Names that were replaced by those that the field uses; CHANGELOG.md lists what replaced them.
REPLACED = [
    "AdmittedPage",
    "Ahead",
    "ALONE",
    "Credit",
    "Dealer",
    "EngineCall",
    "Examination",
    "Fault",
    "OpenCalls",
    "Outcome",
    "Place",
    "QuestionSource",
    "Ranks",
    "RecordedDecoding",
    "Seats",
    "SimulatorStyle",
    "Stage",
    "Targets",
    "TransformersWriter",
    "UnwritablePrompt",
    "VectorSeats",
    "VLLMWriter",
    "Writer",
    "WriterSampling",
    "Writing",
    "WritingError",
    "KeptWriter",
    "ScriptedWriter",
    "ServerWriter",
    "Costs",
    "SimulatorCounts",
    "Prices",
    "SearchOffer",
    "admit_page",
    "agents_by_name",
    "aim_decode",
    "aim_feed",
    "ask_again",
    "at_step",
    "bits_of",
    "by_query",
    "by_rollout",
    "common_fault",
    "correction",
    "correction_limit",
    "dearest",
    "engine_call",
    "faults",
    "faults_told",
    "fault",
    "forged",
    "http_loop",
    "is_local",
    "kl_place",
    "line_blocks",
    "line_file",
    "loss_mean",
    "most_common_fault",
    "neutralize",
    "neutralise",
    "num_dealt",
    "num_faults",
    "num_void",
    "on_first",
    "only_writer",
    "open_ranks",
    "playing_ahead",
    "put_back",
    "retest",
    "seed_of",
    "share_group_luck",
    "share_prompts",
    "show_weights",
    "teaches",
    "void_episodes",
    "void_questions",
    "worth_learning",
    "write_each",
]
# Turns of phrase that a reader has to decode.
PHRASES = """
luck
whoever
is told
are told
was told
were told
dearest
of what
goes on with
gone on with
so that none
that nobody
in company
as it came
has none of its own
what it has
""".strip().splitlines()
_SEARCHED = ("*.py", "*.md", "*.toml", "*.yaml", "*.js", "*.html", "Makefile")
_EXCEPT = (":!CHANGELOG.md", ":!tests/test_vocabulary.py")


def _found(pattern: str) -> list[str]:
    command = ["git", "grep", "-nIP", pattern, "--", *_SEARCHED, *_EXCEPT]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module", autouse=True)
def _needs_git() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")


def test_no_replaced_name_is_left():
    names = "|".join(map(re.escape, REPLACED))
    # torch's std and var take `correction=0`.
    left = _found(rf"(?<![\w.-])({names})(?!\w)(?!=[01]\b)")
    assert not left, "\n".join(left)


def test_no_private_turn_of_phrase_is_left():
    left = _found(rf"(?i)\b({'|'.join(PHRASES)})\b")
    assert not left, "\n".join(left)
