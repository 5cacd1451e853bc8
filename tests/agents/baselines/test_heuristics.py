"""The actions of the scripted agents."""

import pytest

from agents.baselines import AnswerAtOnce, FollowTheHops, QuotePage, RandomWords, SearchOnce
from zs_env.actions import Answer, Malformed, Search, parse_action


def _observation(question, *documents, acted=False):
    return {
        "question": question,
        "message": "page" if acted else "prompt",
        "transcript": "prompt, action, page" if acted else "prompt",
        "documents": documents,
    }


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which is older, Bora Lune or Tal Vey?", "Bora Lune"),
        ("Who built it?", "yes"),
        ("", "yes"),
    ],
)
def test_answer_at_once_takes_the_first_name_of_the_question(question, answer):
    assert parse_action(AnswerAtOnce().act(_observation(question))) == Answer(answer)


def test_search_once_searches_the_question_then_answers_the_most_frequent_new_name():
    agent = SearchOnce()
    question = "Who built Tal Vey?"
    assert parse_action(agent.act(_observation(question))) == Search(question)
    pages = ("Tal Vey. Tal Vey was built by Ann Lee.", "Ann Lee met Bob.", "")
    seen = _observation(question, *pages, acted=True)
    assert parse_action(agent.act(seen)) == Answer("Ann Lee")
    nothing = _observation(question, "", "", acted=True)
    assert parse_action(agent.act(nothing)) == Answer("unknown")


def test_quote_page_answers_with_the_page():
    agent, question = QuotePage(), "Who built Tal Vey?"
    assert parse_action(agent.act(_observation(question))) == Search(question)
    seen = _observation(question, "Tal Vey was built", "by Ann Lee.", "", acted=True)
    assert parse_action(agent.act(seen)) == Answer("Tal Vey was built by Ann Lee.")
    long = _observation(question, *["word " * 1000] * 5, acted=True)
    assert isinstance(parse_action(agent.act(long)), Answer)


def test_random_words_repeats_itself_under_the_same_seed_and_does_everything():
    agent, kinds, texts = RandomWords(), set(), []
    for seed in (*range(60), *range(60)):
        agent.reset(seed)
        text = agent.act(_observation("Who built Tal Vey?", "Ann Lee did."))
        kinds.add(type(parse_action(text)))
        texts.append(text)
    assert texts[:60] == texts[60:]
    assert kinds == {Search, Answer, Malformed}
    assert isinstance(RandomWords().act(_observation("")), str)


def test_follow_the_hops_refuses_questions_of_the_real_world():
    with pytest.raises(ValueError):
        FollowTheHops().act(_observation("Who was the first king of Poland?"))
