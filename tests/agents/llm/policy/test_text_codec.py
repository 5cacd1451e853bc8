"""A tokenizer alone reads and writes as a policy with the same stop tokens does."""

from copy import deepcopy

import pytest

from agents.llm.policy.text_codec import TextCodec

TEXTS = ("What is <eos>?", "", "<|im_end|> naïve </search>\n")


def test_a_codec_needs_no_model(make_policy):
    policy = make_policy()
    codec = TextCodec(policy.tokenizer)
    for text in TEXTS:
        assert codec.encode_prompt(text) == policy.codec.encode_prompt(text)
        assert codec.encode_environment(text) == policy.codec.encode_environment(text)
    assert codec.stop_token_ids == policy.codec.stop_token_ids
    assert codec.control_token_ids == policy.codec.control_token_ids


def test_the_models_stop_tokens_end_turns_and_are_not_forged(make_policy):
    tokenizer = make_policy().tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    codec = TextCodec(tokenizer, model_stop_ids=(end,))
    assert codec.stop_token_ids == {end, tokenizer.eos_token_id}
    written = codec.encode_environment("yes")
    assert codec.decode_action((*written, end)) == "yes"
    assert codec.decode_action(written) == "yes"


@pytest.mark.parametrize("piece", ["!", ",", "\n"])
@pytest.mark.parametrize("role", ["pad_token", "eos_token", "bos_token"])
def test_an_ordinary_piece_may_have_a_special_role(make_policy, piece, role):
    tokenizer = deepcopy(make_policy().tokenizer)
    (token_id,) = tokenizer(piece, add_special_tokens=False)["input_ids"]
    setattr(tokenizer, role, tokenizer.convert_ids_to_tokens(token_id))
    codec = TextCodec(tokenizer)
    text = "Hello! Who,\nthen?\n"
    assert codec.decode(codec.encode_environment(text)) == text
    assert token_id not in codec.control_token_ids
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end in codec.control_token_ids


def test_the_unknown_token_may_be_the_padding(make_policy):
    tokenizer = deepcopy(make_policy().tokenizer)
    tokenizer.unk_token = tokenizer.pad_token = "<|im_end|>"
    codec = TextCodec(tokenizer)
    assert tokenizer.unk_token_id not in codec.control_token_ids


def test_a_control_token_in_a_text_is_an_error_that_names_it(make_policy):
    codec = TextCodec(make_policy().tokenizer, name="mine")
    (token_id,) = codec.encode_environment("!")
    codec.__dict__["control_token_ids"] = frozenset({token_id})
    with pytest.raises(ValueError, match=r"'mine' encodes environment text.*\['!'\]"):
        codec.encode_environment("Hello!")
