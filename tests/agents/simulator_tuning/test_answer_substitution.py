"""A substituted answer replaces the old one in prompt and page; the rest is unchanged."""

from agents.simulator_tuning.pairs import Pair, substitute_answers
from zs_env.metrics import contains_answer
from zs_env.search.types import SearchRequest
from zs_env.simulator.page_parsing import join_documents, split_documents
from zs_env.simulator.prompts import TUNED


def pair(query, answers, *documents, kind="useful"):
    request = SearchRequest(query, f"{query}?", answers, (kind == "useful",) * len(documents), 0)
    return Pair(
        prompt=TUNED.render(request, useful=kind == "useful", num_documents=len(documents)),
        completion=join_documents(list(documents)),
        kind=kind,
        query=query,
        question=f"{query}?",
        answers=answers,
        question_id=query,
        source="set",
    )


ROME = pair("capital of Italy", ("Rome", "Roma"), "Rome is old.", "It is ROME, or Roma.", "Po.")
OSLO = pair("capital of Norway", ("Oslo",), "Oslo: a city.", "Olso is not Oslo.", "Fjords.")
YEAR = pair("year of the moon", ("1969",), "In 1969.", "1969-07, not 19690.", "Apollo.")
DATE = pair("year of the wall", ("1989",), "In 1989.", "Berlin.", "A wall.")
NOISY = pair("capital of Italy", ("Rome", "Roma"), "Paris.", "Turin.", "Milan.", kind="noisy")


def substitute(*pairs, share=1.0):
    return substitute_answers(pairs, TUNED, share=share)


def new_answer(one):
    (answer,) = one.answers
    return answer


def test_the_new_answer_replaces_the_old_one_in_prompt_and_page():
    # The hash may select the pair's own answer; with many pairs it selects another.
    names = [f"Town{letter}" for letter in "abcdefghi"]
    cities = [pair(f"capital {n}", (name,), f"{name}.", "x") for n, name in enumerate(names)]
    changed = substitute(ROME, *cities)[0]
    new = new_answer(changed)
    assert new.startswith("Town")
    assert split_documents(changed.completion) == [
        f"{new} is old.",
        f"It is {new}, or {new}.",
        "Po.",
    ]
    assert changed.prompt == ROME.prompt.replace("Rome / Roma", new)
    assert (changed.query, changed.question) == (ROME.query, ROME.question)
    assert not contains_answer(changed.completion + changed.prompt, ROME.answers)


def test_only_whole_words_are_replaced_by_an_answer_of_the_same_shape():
    years = [pair(f"year {n}", (f"{1900 + n}",), f"In {1900 + n}.", "x") for n in range(9)]
    changed = substitute(YEAR, OSLO, *years)[0]
    new = new_answer(changed)
    assert new.startswith("190")
    assert split_documents(changed.completion)[1] == f"{new}-07, not 19690."


def test_unsuitable_pairs_are_unchanged():
    alone = substitute(ROME, YEAR)  # no other answer has their shape
    assert alone == [ROME, YEAR]
    asked = pair("Is Rome the capital", ("Rome",), "Rome is.", "It is Rome.")
    pairs = [asked, NOISY, *(pair(f"c{n}", ("Bonn",), "Bonn.", "y") for n in range(9))]
    changed = substitute(*pairs)
    assert changed[:2] == [asked, NOISY]
    assert substitute(*pairs, share=0.0) == pairs


def test_the_share_is_approximate_and_the_choice_deterministic():
    pairs = [pair(f"capital {n}", (f"Town{n}",), f"Town{n} is.", "x") for n in range(400)]
    changed = substitute(*pairs, share=0.25)
    count = sum(one != two for one, two in zip(pairs, changed, strict=True))
    assert 60 <= count <= 140
    assert changed == substitute(*pairs, share=0.25)
    assert all(contains_answer(one.completion, one.answers) for one in changed)
