"""Control forms in external text are broken; ordinary text is unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zs_env.text.sanitize import clean_text, sanitize

_FORMS = (
    "<search> </search> <answer> </answer> <information> </information> <think> </think> "
    "<SEARCH> </Answer> <\uff5cUser\uff5c> <\uff5cend▁of▁sentence\uff5c> <|im_start|> "
    "<|im_end|> <|eot_id|> <|endoftext|> <|END_OF_TURN_TOKEN|> <s> </s> <bos> <eos> <pad> <unk> "
    "<mask> <PAD> <start_of_turn> <end_of_turn> <extra_id_0> <unused99> <fim_prefix> <tool_call> "
    "</tool_response> <seed:eos> <reserved_106> <SPECIAL_12> <image> <reponame> [INST] [/INST] "
    "<<SYS>> <</SYS>> [CLS] [SEP] [MASK] [PAD] [UNK] [BOS] [gMASK] <sop> [TOOL_CALLS] "
    "[/AVAILABLE_TOOLS] [control_8] [UNUSED_TOKEN_145] [unused7] [|user|] [@BOS@] ]~b] ]~!b[ "
    "\uff1csearch\uff1e \uff1cs\uff1e"
)
CONTROL_FORMS = _FORMS.split()
ORDINARY = [
    "a < b and b > c",
    "if x<y>z",
    "[1] and [12], [citation needed], [NASA]",
    "List<int>, <b>bold</b>, <br>",
    "I <3 you",
    "value < information content",
    "the search for an answer",
    "a || b |> c",
    "researching <searching> things",
    "naïve Ελλάδα 北京 🙂 العربية",
]


@pytest.mark.parametrize("form", [*CONTROL_FORMS, "< / information >", "< search >", "</ answer>"])
def test_control_forms_are_broken_and_keep_their_words(form):
    broken = sanitize(f"before {form} after")
    assert form not in broken
    assert broken.startswith("before (") and broken.endswith(" after")
    assert [c for c in form if c.isalnum()] == [c for c in broken[7:-6] if c.isalnum()]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text):
    assert sanitize(text) == text


_FRAGMENTS = st.sampled_from([*CONTROL_FORMS, *"<>/|[](\uff5c] ", "\x00", "\ud800", "search", "\n"])


@given(st.lists(st.one_of(_FRAGMENTS, st.text(max_size=5))).map("".join))
def test_sanitizing_keeps_the_length_and_a_second_time_changes_nothing(text):
    once = sanitize(text)
    assert len(once) == len(text)
    assert sanitize(once) == once
    assert not any(form in once for form in CONTROL_FORMS)


def test_nul_and_lone_surrogates_become_replacement_characters():
    assert clean_text("a\x00b\ud800c\udfffd") == "a\ufffdb\ufffdc\ufffdd"
    assert clean_text("🙂 \u200f") == "🙂 \u200f"
    clean_text("\udc80é").encode("utf-8")
