"""Tokens of an unfinished episode, in particular at the end of the context."""

from agents.llm.generators.base import Generation
from agents.llm.rollout.types import Source, TokenEpisode


def _turn(*token_ids, stop_reason="tag"):
    return Generation(
        token_ids=token_ids, logprobs=(-1.0,) * len(token_ids), stop_reason=stop_reason
    )


def _sources(episode):
    return [segment.source for segment in episode.segments]


def _episode():
    episode = TokenEpisode()
    episode.append_prompt((1, 2))
    return episode


def test_tokens_are_kept_in_order():
    episode = _episode()
    episode.append_action(_turn(3))
    episode.append_observation((4, 5))
    episode.append_action(_turn(6))
    assert episode.token_ids == [1, 2, 3, 4, 5, 6]
    assert _sources(episode) == [Source.PROMPT, Source.POLICY, Source.ENVIRONMENT, Source.POLICY]


def test_an_observation_that_fills_the_context_is_dropped():
    episode = _episode()
    episode.append_action(_turn(3))
    episode.append_observation((4, 5))
    episode.append_action(_turn(stop_reason="context"))
    assert episode.context_full
    assert episode.token_ids == [1, 2, 3]


def test_a_full_context_takes_no_observation():
    episode = _episode()
    episode.append_action(_turn(3, stop_reason="context"))
    episode.append_observation((4, 5))
    assert episode.token_ids == [1, 2, 3]


def test_the_prompt_is_kept_if_nothing_could_be_generated():
    episode = _episode()
    episode.append_action(_turn(stop_reason="context"))
    assert episode.token_ids == [1, 2]
