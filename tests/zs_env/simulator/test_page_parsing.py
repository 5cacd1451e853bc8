"""Any text can be split, and a joined page is split into the same documents."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zs_env.simulator.page_parsing import join_documents, split_documents


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("Doc 1: a b\nDoc 2: c", ["a b", "c"]),
        ("Here you are:\n\nDoc 1: a\nstill a\n\nDoc 2:\n  b\n", ["a still a", "b"]),
        ("**Document 1:** a\n- Doc 2 - b\n[Doc 3] c", ["a", "b", "c"]),
        ("doc 1. a. Doc 2: b", ["a.", "b"]),
        ("Doc 1: only one", ["only one"]),
        ("Doc 1:\nDoc 2: b", ["b"]),
        ("1. a\n2) b\n(3) c", ["a", "b", "c"]),
        ("In 1994. It was", ["In 1994. It was"]),
        ("3. of May was a Monday", ["3. of May was a Monday"]),
        ("a\nb\n\nc", ["a b", "c"]),
        ("a\nb", ["a", "b"]),
        ("See Doc 3 for more", ["See Doc 3 for more"]),
        ("<think>Doc 1: no</think>Doc 1: yes", ["yes"]),
        ("<think>Doc 1: never ended", []),
        ("", []),
        (" \n\t", []),
    ],
)
def test_pages_in_many_forms(text, documents):
    assert split_documents(text, 5) == documents


def test_surplus_documents_are_dropped():
    assert split_documents("Doc 1: a\nDoc 2: b\nDoc 3: c", 2) == ["a", "b"]


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.lists(st.sampled_from(["Doc 1:", "\n", "\n\n", "2. ", "x", " ", "**", "<think>", "\0"]))
    .map("".join)
    .flatmap(lambda text: st.tuples(st.just(text), st.integers(1, 5)))
)
def test_any_text_gives_at_most_the_requested_number_of_non_empty_documents(case):
    text, count = case
    documents = split_documents(text, count)
    assert len(documents) <= count
    assert all(document.strip() and "\n" not in document for document in documents)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.from_regex(r"[A-Za-z][a-z ,.]{0,40}[a-z.]", fullmatch=True), max_size=6))
def test_splitting_inverts_joining(texts):
    texts = [" ".join(text.split()) for text in texts]
    assert split_documents(join_documents(texts), 6) == texts


@pytest.mark.parametrize("text", ["Doc" + " " * 60_000, "Doc (" * 20_000, "<think>" * 20_000])
def test_degenerate_texts_are_split_quickly(text):
    # A pattern that backtracks over blanks would take half a minute.
    assert len(split_documents(text, 5)) <= 5


def test_very_long_texts_are_truncated():
    assert len(split_documents("x" * 10**6)[0]) == 2**16
