"""Seeds of a group: its first episode has the question's own, and no two are alike."""

from agents.llm.rollout.episode_seeds import group_seeds


def test_the_first_episode_has_the_seed_itself():
    assert group_seeds(7, 3)[0].environment == 7


def test_a_larger_group_begins_with_the_smaller_one():
    def drawn(size):
        return [(one.environment, one.sampling) for one in group_seeds(7, size)]

    assert drawn(5)[:2] == drawn(2)


def test_only_the_groups_luck_is_shared():
    seeds = group_seeds(7, 4)
    assert len({one.group for one in seeds}) == 1
    assert len({one.environment for one in seeds} | {one.sampling for one in seeds}) == 8
