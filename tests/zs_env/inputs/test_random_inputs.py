"""Random actions, pages and rows raise only documented errors. ZEROSEARCH_FUZZ=full: all."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import num_cases
from zs_env import Question, ZeroSearchEnv, ZeroSearchVectorEnv
from zs_env.engines import ScriptedEngine
from zs_env.questions.files import questions_from_rows
from zs_env.questions.question import Question as AnyQuestion
from zs_env.questions.rows import RowLocation
from zs_env.search.types import Document, SearchError, SearchPage
from zs_env.transcripts.serialization import transcript_to_json

QUESTION = Question(id="q", text="Who?", answers=("Ann",))
TAGS = ["<search>", "</search>", "<answer>", "</answer>", "<think>", "</think>", "<information>"]
PIECES = st.one_of(st.sampled_from([*TAGS, "<SEARCH>", "< search >", "<|im_end|>"]), st.text())
ACTIONS = st.lists(PIECES, max_size=6).map("".join)
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    st.binary(max_size=4),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def fuzz(full):
    return settings(
        max_examples=num_cases(full // 100, full),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@fuzz(100_000)
@given(ACTIONS, st.text(max_size=20))
def test_every_text_is_an_action(action, document):
    env = ZeroSearchEnv([QUESTION], ScriptedEngine({}, default=[Document(document)]), max_turns=2)
    env.reset(seed=0)
    for _ in range(2):
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert 0.0 <= reward <= 1.0 and info["failure" if terminated else "action"] != "failure"
        if terminated or truncated:
            break
    assert terminated or truncated
    assert env.transcript().reason in ("answer", "turn_limit")
    json.dumps(transcript_to_json(env.transcript()), allow_nan=False)


@fuzz(10_000)
@given(ANYTHING.filter(lambda value: not isinstance(value, str)))
def test_an_action_of_another_type_is_a_type_error_and_changes_nothing(value):
    env = ZeroSearchEnv([QUESTION], ScriptedEngine({}), max_turns=2)
    env.reset(seed=0)
    with pytest.raises(TypeError, match="action"):
        env.step(value)
    assert env.transcript().turns == ()
    env.step("<answer>Ann</answer>")
    vector = ZeroSearchVectorEnv(1, [QUESTION], ScriptedEngine({}))
    vector.reset(seed=0)
    with pytest.raises(TypeError, match="action"):
        vector.step([value])


DOCUMENTS = st.builds(
    Document,
    st.text(max_size=20) | ANYTHING,
    st.text(max_size=8) | ANYTHING,
    checks=st.just(()),
    metadata=st.lists(st.tuples(st.text(max_size=4), SCALARS), max_size=2).map(tuple),
)
PAGES = st.one_of(
    st.lists(DOCUMENTS | ANYTHING, max_size=4).map(lambda documents: ("page", documents)),
    ANYTHING.map(lambda value: ("value", value)),
    st.sampled_from([SearchError("down"), ValueError("x"), KeyError(3)]).map(
        lambda e: ("raise", e)
    ),
)


class AnyEngine:
    """Returns what it is given."""

    in_process = True

    def __init__(self, kind, value):
        self.kind, self.value = kind, value

    def search(self, requests):
        if self.kind == "raise":
            raise self.value
        return [SearchPage(self.value)] if self.kind == "page" else self.value


@fuzz(10_000)
@given(PAGES)
def test_every_page_is_shown_or_a_failure(page):
    env = ZeroSearchEnv([QUESTION], AnyEngine(*page), num_documents=2)
    env.reset(seed=0)
    observation, reward, _, truncated, info = env.step("<search>a</search>")
    assert env.observation_space.contains(observation) and reward == 0.0
    assert truncated == (info.get("reason") == "failure")
    if truncated:
        assert isinstance(info["failure"], str)


FIELDS = st.sampled_from(
    [
        *("id", "question", "text", "answers", "answer", "golden_answers", "answer_aliases"),
        *("aliases", "possible_answers", "source", "prompt", "paragraphs", "context", "metadata"),
        *("supporting_facts", "positive_ctxs", "negative_ctxs", "other"),
    ]
)
ROWS = st.dictionaries(FIELDS, ANYTHING, max_size=8).map(
    lambda row: {"question": "Who?", "answers": ["Ann"]} | row
)


@fuzz(10_000)
@given(ROWS)
def test_every_row_is_a_question_or_a_value_error_with_its_place(row):
    try:
        (question,) = questions_from_rows([(RowLocation("set", 7), row)], source="set")
    except ValueError as error:
        assert "set, line 7" in str(error)
    else:
        assert isinstance(question, AnyQuestion) and question.answers
        with suppress(ValueError):  # a prompt may be too long
            ZeroSearchEnv([question], ScriptedEngine({})).reset(seed=0)
