"""Checks that a replayed episode equals the recorded one, and explains the first difference."""

from __future__ import annotations

from collections.abc import Sequence

from zs_env.transcripts.transcript import Transcript, Turn


def check_replay(recorded: Transcript, replayed: Transcript) -> None:
    """Require that an episode equals its recording.

    Raises:
        ValueError: if it differs; the message explains the first difference and its remedy.
    """
    if replayed == recorded:
        return
    if (recorded.question, recorded.prompt) != (replayed.question, replayed.prompt):
        reason = "its question or prompt differs; the questions or the package have changed"
    elif difference := _first_different_turn(recorded.turns, replayed.turns):
        reason = difference
    elif len(recorded.turns) != len(replayed.turns):
        reason = f"it takes {len(replayed.turns)} turns, recorded {len(recorded.turns)}"
    elif recorded.reward_terms != replayed.reward_terms:
        reason = f"its reward is {replayed.reward_terms}, recorded {recorded.reward_terms}"
    else:
        reason = (
            f"its rules or its seed differ: {_rules(replayed)}, recorded {_rules(recorded)}; "
            "evaluate again"
        )
    raise ValueError(f"question {recorded.question.id!r} is not replayed as recorded: {reason}")


def check_replay_until(recorded: Transcript, flipped: Transcript, turn: int) -> None:
    """Require that an episode equals its recording up to the search whose page was flipped.

    Raises:
        ValueError: if it differs, or the search did not request the opposite page.
    """
    request = recorded.turns[turn].request
    difference = _first_different_turn(recorded.turns[:turn], flipped.turns[:turn])
    if difference is None and len(flipped.turns) <= turn:
        difference = f"it ended before turn {turn} ({flipped.failure or flipped.reason})"
    if difference is None and flipped.turns[turn].text != recorded.turns[turn].text:
        difference = _different_text(turn, recorded.turns[turn], flipped.turns[turn])
    if difference is None and (request is None or flipped.turns[turn].request != request.flipped()):
        difference = f"turn {turn} did not request the opposite of {request}"
    if difference is not None:
        raise ValueError(
            f"question {recorded.question.id!r}, before its flipped page, is not replayed as "
            f"recorded: {difference}"
        )


def _rules(transcript: Transcript) -> tuple[object, ...]:
    names = ("noise_probability", "seed", "max_turns", "num_documents", "reason")
    return tuple(getattr(transcript, name) for name in names)


def _first_different_turn(recorded: Sequence[Turn], replayed: Sequence[Turn]) -> str | None:
    """Explain the first difference between the turns that both have; None without one."""
    for number, (before, after) in enumerate(zip(recorded, replayed, strict=False)):
        if before == after:
            continue
        if before.text != after.text:
            return _different_text(number, before, after)
        if before.request != after.request:
            return f"the search of turn {number} is {after.request}, recorded {before.request}"
        if not after.message:
            return f"the engine returned no page at turn {number}; run the command again"
        return (
            f"the engine returned another page at turn {number} for the same request; wrap it in a "
            'cache, {"kind": "cache", "path": FILE, "engine": ...}, and evaluate again'
        )
    return None


def _different_text(number: int, before: Turn, after: Turn) -> str:
    return (
        f"at turn {number} the agent wrote {_short(after.text)}, recorded {_short(before.text)}; "
        "its text must depend only on the seed of `reset` and on its observations"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
