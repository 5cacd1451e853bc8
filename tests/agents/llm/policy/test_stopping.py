import random

import pytest

from agents.llm.policy.policy import Policy
from agents.llm.policy.stopping import CLOSING_TAGS, StopRule, may_complete_tag


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (">", True),
        ("h>\n\n", True),
        ("r> and", True),
        ("</search>", True),
        ("x</answer>", True),
        (" >", True),  # decoded alone; after another token the space may be none
        ("</think>", False),
        ("<search>", False),
        ("<answer>", False),
        ("a > b", True),
        ("information>", False),
        ("search", False),
    ],
)
def test_a_token_is_watched_if_its_text_can_complete_a_closing_tag(text, may):
    assert may_complete_tag(text) is may


def _pieces_policy(make_policy) -> Policy:
    """A tokenizer with ordinary tokens that straddle the tags' ends."""
    policy = make_policy()
    policy.tokenizer.add_tokens(
        ["h>\n", "</sear", "ch", ">>", "</answer", "</search>", "</think>", "<search>", "r>x", "<"]
    )
    return policy


def test_the_token_that_completes_a_tag_is_kept_whole(make_policy):
    policy = _pieces_policy(make_policy)
    rule = StopRule(policy.codec)
    ids = list(policy.codec.encode_environment("<search>who</search>\nand more"))
    ends = [end for end in range(1, len(ids) + 1) if rule.reason(ids[:end]) == "tag"]
    assert policy.codec.decode(ids[: ends[0]]) == "<search>who</search>"
    ids = list(policy.codec.encode_environment("<answer>no</sear"))
    ids += policy.codec.encode_environment("c") + policy.codec.encode_environment("h>\n")
    assert rule.reason(ids[:-1]) is None
    assert rule.reason(ids) == "tag"
    assert ids[-1] in rule.watched


def test_only_watched_tokens_end_a_turn(make_policy):
    policy = _pieces_policy(make_policy)
    rule = StopRule(policy.codec)
    rng = random.Random(0)
    alphabet = [*policy.tokenizer.get_added_vocab().values()]
    alphabet += [
        i
        for text in ("<", "/", ">", "r", "h", "c", " ", "</answe")
        for i in policy.codec.encode_environment(text)
    ]
    tagged = 0
    for _ in range(400):
        ids: list[int] = []
        while len(ids) < 30:
            ids.append(rng.choice(alphabet))
            done = ids[-1] in policy.codec.stop_token_ids or any(
                tag in policy.codec.decode(ids) for tag in CLOSING_TAGS
            )
            assert not done or ids[-1] in rule.watched
            assert (rule.reason(ids) is not None) == done
            if done:
                tagged += rule.reason(ids) == "tag"
                break
    assert tagged > 50


def test_a_stop_token_ends_a_turn_without_a_tag(make_policy):
    policy = make_policy()
    rule = StopRule(policy.codec)
    ids = [*policy.codec.encode_environment("I do not know"), policy.tokenizer.eos_token_id]
    assert rule.reason(ids) == "eos"
    assert rule.reason(ids[:-1]) is None


def test_what_was_sampled_past_a_turns_end_is_cut(make_policy):
    policy = _pieces_policy(make_policy)
    rule = StopRule(policy.codec)
    turn = policy.codec.encode_environment("<search>who</search>")
    (end,) = policy.codec.stop_token_ids
    assert rule.cut(turn + policy.codec.encode_environment(" and more")) == (turn, "tag")
    assert rule.cut((*turn[:-1], end, *turn)) == ((*turn[:-1], end), "eos")
    assert rule.cut(turn[:-1]) == (turn[:-1], None)
    assert rule.cut(()) == ((), None)


def test_a_closing_open_tag_ends_a_turn_only_with_the_tool(make_policy):
    policy = make_policy()
    turn = policy.codec.encode_environment("<open>2</open>")
    assert StopRule(policy.codec).cut(turn) == (turn, None)
    assert policy.tools == ("search",)
    policy.record_env_settings({"tools": ["search", "open"]})
    rule = StopRule(policy.codec)
    assert rule.tags == ("</search>", "</open>", "</answer>")
    assert rule.cut(turn + policy.codec.encode_environment(" more")) == (turn, "tag")
