"""The network treats all choices alike and masks empty ones."""

import pytest

torch = pytest.importorskip("torch")

from agents.sb3.choices import NUM_CHOICE_FEATURES, NUM_EPISODE_FEATURES  # noqa: E402
from agents.sb3.network import ChoiceNetwork  # noqa: E402

NUM_CHOICES = 5


def _network():
    torch.manual_seed(0)
    return ChoiceNetwork(NUM_CHOICES, masked_score=-7.0)


def _features(*, empty=()):
    """One observation with all choices different."""
    generator = torch.Generator().manual_seed(1)
    episode = torch.rand(1, NUM_EPISODE_FEATURES, generator=generator)
    choices = torch.rand(1, NUM_CHOICES, NUM_CHOICE_FEATURES, generator=generator)
    choices[:, list(empty)] = 0.0
    return episode, choices


def _join(episode, choices):
    return torch.cat([episode, choices.flatten(1)], dim=1)


def test_choices_in_another_order_get_the_same_scores_in_that_order():
    network, (episode, choices), order = _network(), _features(), [3, 0, 4, 1, 2]
    scores, summary = network(_join(episode, choices))
    other_scores, other_summary = network(_join(episode, choices[:, order]))
    torch.testing.assert_close(other_scores, scores[:, order])
    torch.testing.assert_close(other_summary, summary)
    assert scores.unique().numel() == NUM_CHOICES


def test_an_empty_choice_has_the_masked_score_and_changes_no_other():
    network, (episode, choices) = _network(), _features(empty=[4])
    scores, _ = network(_join(episode, choices))
    assert scores[0, 4] == -7.0 and (scores[0, :4] > -7.0).all()
    # The embedding of an empty choice is left out of the maximum.
    lively = choices.clone()
    lively[:, 4, 2:] = 1.0
    torch.testing.assert_close(network(_join(episode, lively))[0], scores)


def test_a_score_depends_on_the_other_choices():
    network, (episode, choices) = _network(), _features()
    changed = choices.clone()
    changed[:, 1] = 3.0
    difference = network(_join(episode, changed))[0] - network(_join(episode, choices))[0]
    assert difference[0, 0] != 0


def test_actor_and_critic_see_what_both_see_together():
    network, features = _network(), _join(*_features(empty=[0]))
    scores, summary = network(features)
    torch.testing.assert_close(network.forward_actor(features), scores)
    torch.testing.assert_close(network.forward_critic(features), summary)
