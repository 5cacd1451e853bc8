"""What a record keeps of an episode, in particular where the context ends."""

from agents.llm.generators.base import Generation
from agents.llm.rollout.episode_record import EpisodeRecord
from agents.llm.rollout.types import Source


def _turn(*token_ids, stop_reason="tag"):
    return Generation(
        token_ids=token_ids, logprobs=(-1.0,) * len(token_ids), stop_reason=stop_reason
    )


def _sources(record):
    return [segment.source for segment in record.segments]


def _record():
    record = EpisodeRecord()
    record.begin((1, 2))
    return record


def test_tokens_are_kept_in_the_order_in_which_they_came():
    record = _record()
    record.take(_turn(3))
    record.hear((4, 5))
    record.take(_turn(6))
    assert record.token_ids() == [1, 2, 3, 4, 5, 6]
    assert _sources(record) == [Source.PROMPT, Source.POLICY, Source.ENVIRONMENT, Source.POLICY]


def test_a_message_that_the_policy_could_not_answer_is_forgotten():
    record = _record()
    record.take(_turn(3))
    record.hear((4, 5))
    record.take(_turn(stop_reason="context"))
    assert record.context_full
    assert record.token_ids() == [1, 2, 3]


def test_a_full_context_hears_nothing_more():
    record = _record()
    record.take(_turn(3, stop_reason="context"))
    record.hear((4, 5))
    assert record.token_ids() == [1, 2, 3]


def test_the_prompt_is_kept_where_nothing_could_be_written():
    record = _record()
    record.take(_turn(stop_reason="context"))
    assert record.token_ids() == [1, 2]
