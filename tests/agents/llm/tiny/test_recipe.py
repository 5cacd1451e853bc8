"""Endings train the parts of an episode without decisions."""

import re

from agents.llm.rollout.types import Source
from agents.llm.tiny.recipe import Recipe, endings


def test_endings_train_no_decision(make_worded_policy):
    policy = make_worded_policy()
    rollouts = list(endings(Recipe(num_worlds=2, num_endings=60), policy))
    assert len(rollouts) == 60
    trained = []
    for rollout in rollouts:
        parts = [
            (segment.source, policy.codec.decode(segment.token_ids)) for segment in rollout.segments
        ]
        text = "".join(part for _, part in parts)
        own = [part for source, part in parts if source is Source.POLICY]
        trained += own
        # The first search is given, and what its page states is trained.
        assert text.index("<search>") < text.index(own[0])
        for part in own:
            assert not re.search(r"\b(First|Next|Again)\b", part), part
            concluded = "So earlier" in part or "Both have" in part
            assert ("Done." in part) == concluded, part
            assert ("<answer>" in part) == concluded, part
        for query in re.findall(r"<search> ([^<]*)</search>", text)[1:]:
            assert f" {query}</search>" in own
    for kind in ("not there.", "So earlier", "Both have", "</search>"):
        assert any(kind in part for part in trained), kind
