"""Whether an episode that is played again goes as it went, and why not where it does not."""

from __future__ import annotations

from zs_env.transcripts.transcript import Transcript, Turn


def check_replay(recorded: Transcript, replayed: Transcript) -> None:
    """Require that an episode went exactly as it was recorded.

    Raises:
        ValueError: if it did not, naming what differs first, why, and what to do.
    """
    if replayed != recorded:
        reason = _first_difference(recorded, replayed)
        raise ValueError(f"question {recorded.question.id!r} is not replayed as recorded: {reason}")


def check_past(recorded: Transcript, flipped: Transcript, turn: int) -> None:
    """Require that an episode went as recorded up to the search whose page was flipped.

    Raises:
        ValueError: if it did not, or the search did not ask for the opposite page.
    """
    past = recorded.turns[:turn]
    request = recorded.turns[turn].request
    difference = _first_different_turn(past, flipped.turns[:turn])
    if difference is None and len(flipped.turns) <= turn:
        difference = f"it ended before turn {turn} ({flipped.failure or flipped.reason})"
    if difference is None and flipped.turns[turn].text != recorded.turns[turn].text:
        difference = _other_words(turn, recorded.turns[turn], flipped.turns[turn])
    if difference is None and (request is None or flipped.turns[turn].request != request.flipped()):
        difference = f"turn {turn} did not ask for the opposite of {request}"
    if difference is not None:
        raise ValueError(
            f"question {recorded.question.id!r}, before its flipped page, is not replayed as "
            f"recorded: {difference}"
        )


def _first_difference(recorded: Transcript, replayed: Transcript) -> str:
    if (recorded.question, recorded.prompt) != (replayed.question, replayed.prompt):
        return "its question or prompt is another now; the questions or the package have changed"
    difference = _first_different_turn(recorded.turns, replayed.turns)
    if difference is not None:
        return difference
    if len(recorded.turns) != len(replayed.turns):
        return f"it takes {len(replayed.turns)} turns, recorded {len(recorded.turns)}"
    if recorded.reward_terms != replayed.reward_terms:
        return f"its reward is {replayed.reward_terms}, recorded {recorded.reward_terms}"
    return (
        "its rules or its luck are others now: "
        f"{_rules(replayed)}, recorded {_rules(recorded)}; evaluate again"
    )


def _rules(transcript: Transcript) -> tuple[object, ...]:
    return (
        transcript.noise_probability,
        transcript.seed,
        transcript.max_turns,
        transcript.num_documents,
        transcript.reason,
    )


def _first_different_turn(recorded: tuple[Turn, ...], replayed: tuple[Turn, ...]) -> str | None:
    """What is different in the first turn that is; None where all that both took are equal."""
    for number, (was, is_now) in enumerate(zip(recorded, replayed, strict=False)):
        if was == is_now:
            continue
        if was.text != is_now.text:
            return _other_words(number, was, is_now)
        if was.request != is_now.request:
            return f"the search of turn {number} is {is_now.request}, recorded {was.request}"
        if not is_now.message:
            return f"the engine gave no page at turn {number}; run the command again"
        return (
            f"the engine gave another page at turn {number} for the same request; put a cache "
            'around it, {"kind": "cache", "path": FILE, "engine": ...}, and evaluate again'
        )
    return None


def _other_words(number: int, was: Turn, is_now: Turn) -> str:
    return (
        f"at turn {number} the agent wrote {_short(is_now.text)}, recorded {_short(was.text)}; its "
        "words must follow from the seed of `reset` and from what it reads alone"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
