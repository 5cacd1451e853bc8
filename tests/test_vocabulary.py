"""No replaced name and no private turn of phrase is left in code, tests or docs."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

from tests.paths import ROOT

# Names that were replaced by those that the field uses; CHANGELOG.md lists what replaced them.
REPLACED = {
    "admit_page",
    "AdmittedPage",
    "agents_by_name",
    "aim_decode",
    "aim_feed",
    "ask_again",
    "at_step",
    "bits_of",
    "by_query",
    "by_rollout",
    "common_fault",
    "correction_limit",
    "dearest",
    "engine_call",
    "EngineCall",
    "fault",
    "faults",
    "faults_told",
    "forged",
    "http_loop",
    "is_local",
    "KeptWriter",
    "kl_place",
    "line_blocks",
    "line_file",
    "loss_mean",
    "most_common_fault",
    "neutralise",
    "neutralize",
    "num_dealt",
    "num_faults",
    "num_void",
    "on_first",
    "only_writer",
    "open_ranks",
    "OpenCalls",
    "playing_ahead",
    "put_back",
    "QuestionSource",
    "RecordedDecoding",
    "retest",
    "ScriptedWriter",
    "seed_of",
    "ServerWriter",
    "share_group_luck",
    "share_prompts",
    "show_weights",
    "SimulatorCounts",
    "SimulatorStyle",
    "TransformersWriter",
    "UnwritablePrompt",
    "VectorSeats",
    "VLLMWriter",
    "void_episodes",
    "void_questions",
    "worth_learning",
    "write_each",
    "WriterSampling",
    "WritingError",
}
# These are ordinary words as well, so only identifiers count.
REPLACED_IDENTIFIERS = {
    "Ahead",
    "ALONE",
    "correction",
    "Costs",
    "Credit",
    "Dealer",
    "Examination",
    "Fault",
    "Outcome",
    "Place",
    "Prices",
    "Ranks",
    "Seats",
    "Stage",
    "Targets",
    "teaches",
    "Writer",
    "Writing",
}
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
# The page of transcripts has questions and documents of public data sets.
_EXCEPT = (":!CHANGELOG.md", ":!tests/test_vocabulary.py", ":!docs/real_text/transcripts.html")


def _found(pattern: str) -> list[str]:
    command = ["git", "grep", "-nIP", pattern, "--", *_SEARCHED, *_EXCEPT]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module", autouse=True)
def _needs_git() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")


def test_no_replaced_name_is_left():
    left = _found(rf"(?<![\w.-])({'|'.join(map(re.escape, sorted(REPLACED)))})(?!\w)")
    assert not left, "\n".join(left)


def test_no_replaced_identifier_is_left():
    listed = ["git", "ls-files", "-z", "--", "*.py"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = re.compile(rf"\b({'|'.join(REPLACED_IDENTIFIERS)})\b")
    sources = {
        name: Path(ROOT, name).read_text(encoding="utf-8")
        for name in files.split("\0")
        if name and Path(ROOT, name).exists()
    }
    left = [
        f"{name}:{token.start[0]}: {token.string}"
        for name, source in sources.items()
        if words.search(source)
        for token in _tokens(source)
        # torch's std and var take `correction=0`.
        if token.type == tokenize.NAME and token.string in REPLACED_IDENTIFIERS
        if "correction=" not in token.line
    ]
    assert not left, "\n".join(left)


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def test_no_private_turn_of_phrase_is_left():
    left = _found(rf"(?i)\b({'|'.join(PHRASES)})\b")
    assert not left, "\n".join(left)
