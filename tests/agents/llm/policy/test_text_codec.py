"""A tokenizer alone reads and writes as a policy with the same stop tokens does."""

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
