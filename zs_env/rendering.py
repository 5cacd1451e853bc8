"""An episode as coloured text for a terminal.

The prompt is dim, the agent's text bold; useful documents are green, noisy ones red. Gold answers
are shown at the end of the episode.
"""

from __future__ import annotations

import re

from zs_env.prompts import render_document
from zs_env.search.types import Document
from zs_env.transcripts.transcript import Transcript, Turn

_RESET = "\x1b[0m"
_STYLES = {
    "prompt": "\x1b[2m",
    "agent": "\x1b[1m",
    "notice": "\x1b[33m",
    "useful": "\x1b[32m",
    "noisy": "\x1b[31m",
    "unknown": "\x1b[36m",
    "failure": "\x1b[41m",
    "result": "\x1b[35m",
}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def render_transcript(transcript: Transcript, *, color: bool = True) -> str:
    """Return an episode as text with one line per document."""
    parts = [
        render_start(transcript),
        *(render_turn(turn, transcript) for turn in transcript.turns),
    ]
    text = "".join(parts)
    return text if color else _ANSI.sub("", text)


def render_start(transcript: Transcript) -> str:
    """Return the prompt and the noise probability."""
    noise = f"[{transcript.question.id}  noise {transcript.noise_probability:.2f}]"
    return _styled("result", noise) + _styled("prompt", transcript.prompt)


def render_turn(turn: Turn, transcript: Transcript) -> str:
    """Return one turn, followed by the result after the last one."""
    parts = [_styled("agent", turn.text)]
    if turn.documents:
        parts += [_document(document) for document in turn.documents]
    elif turn.message:
        parts.append(_styled("notice", turn.message))
    if transcript.reason is not None and turn is transcript.turns[-1]:
        parts.append(_result(transcript))
    return "".join(parts)


def _document(document: Document) -> str:
    kind = {True: "useful", False: "noisy", None: "unknown"}[document.useful]
    labels = [kind]
    if document.noise_kind not in (None, "irrelevant"):
        labels.append(document.noise_kind)
    if document.contains_answer:
        labels.append("contains answer")
    return _styled(
        kind, f"  Doc {document.rank + 1} ({', '.join(labels)}): {render_document(document)}"
    )


def _result(transcript: Transcript) -> str:
    if transcript.failure is not None:
        failed = "the engine failed" if transcript.prediction is None else "no reward"
        return _styled("failure", f"{failed}: {transcript.failure}")
    terms = ", ".join(f"{name} {value:.3g}" for name, value in transcript.reward_terms)
    gold = " | ".join(transcript.question.answers)
    verdict = transcript.verdict
    judged = "" if verdict is None else _styled("notice", f"judge: {verdict.text}")
    return judged + _styled(
        "result",
        f"{transcript.reason}: reward {transcript.reward:.3g} ({terms})  "
        f"answer {transcript.prediction!r}, gold {gold!r}",
    )


def printable(text: str) -> str:
    """Replace control characters, which terminals execute, and lone surrogates."""
    return _UNPRINTABLE.sub("\ufffd", text)


def encodable(text: str, encoding: str | None) -> str:
    r"""Replace characters that an encoding lacks by escapes, such as `\u8c01`."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def _styled(style: str, text: str) -> str:
    return f"{_STYLES[style]}{printable(text.strip())}{_RESET}\n"
