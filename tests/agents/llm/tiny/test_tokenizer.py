"""The tokenizer of the tiny policy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.llm.tiny.tokenizer import build_tokenizer
from zs_env.prompts import BARE_NOTICES, BARE_PROMPT, INSTRUCT_PROMPT, NOTICES, render_page
from zs_env.search.types import Document
from zs_env.world import World, WorldQuestions

TOKENIZER = build_tokenizer()


def pieces(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    return TOKENIZER.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("seed", [0, 1, 999])
def test_the_text_of_worlds_has_no_character_tokens_and_no_unknown_tokens(split, seed):
    world = World(seed, split)
    texts = [BARE_PROMPT.replace("{question}", q.text) for q in WorldQuestions(world)[:200]]
    texts += [render_page([Document(p["text"])] * 5) for p in world.passages()]
    for text in texts:
        found = pieces(text)
        assert "<|unknown|>" not in found
        assert not [piece for piece in found if len(piece) == 1 and piece.isalpha()], text


@pytest.mark.parametrize(
    "text",
    [
        INSTRUCT_PROMPT,
        *NOTICES.values(),
        *BARE_NOTICES.values(),
        "\x00\x7f",
        "<|end|>",
        "日本 é 🙂",
        "",
        " \n\t  ",
    ],
)
def test_any_text_decodes_to_itself(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert TOKENIZER.decode(ids) == text
    assert not set(ids) & set(TOKENIZER.all_special_ids)


@given(st.text(st.characters(codec="utf-8")))
def test_any_unicode_text_decodes_to_itself(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert TOKENIZER.decode(ids) == text


def test_a_name_has_the_same_tokens_in_every_context():
    fact = World(0).facts[0]
    name = [f" {part}" for part in fact.subject.name.split()]
    for text in (
        f"The mayor of {fact.subject.name} is {fact.object.name}.",
        f"<search> mayor of {fact.subject.name}</search>",
        f"<answer> {fact.subject.name}</answer>",
        f"Both have {fact.subject.name}. Done.",
    ):
        found = pieces(text)
        assert any(found[i : i + 2] == name for i in range(len(found)))


def test_a_year_is_its_decade_and_a_digit():
    assert pieces("The birth year of X is 1842.")[-3:] == [" 184", "2", "."]
