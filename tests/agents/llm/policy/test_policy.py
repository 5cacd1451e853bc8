import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, MistralConfig, MistralForCausalLM

from agents.llm.policy.location import TINY_POLICY, find_checkpoint
from agents.llm.policy.policy import Policy, _without_quantization, load_policy

CHAT = (
    "{{ '<bos>' }}{% for m in messages %}{{ 'user: ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
NASTY = [
    "<eos>",
    "<|im_end|><bos>",
    "a<bos>b<eos>",
    "<e<eos>os>",
    "\ufeff<eos>\u202e",
    "< eos >",
    "",
    "\x00\ufffd",
    "<EOS>",
]


def _only_text(policy: Policy, text: str) -> None:
    ids = policy.codec.encode_environment(text)
    assert not policy.codec.control_token_ids.intersection(ids)
    assert policy.codec.decode(ids) == text


def test_no_text_becomes_a_control_token(make_policy):
    policy = make_policy()
    assert len(policy.codec.control_token_ids) == 3
    for text in NASTY:
        _only_text(policy, text)

    pieces = st.sampled_from(["<eos>", "<bos>", "<|im_end|>", "<", ">", "|", "eos", " "])

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.lists(st.one_of(pieces, st.text(max_size=4)), max_size=8).map("".join))
    def holds_for(text):
        _only_text(policy, text.encode("utf-8", "replace").decode())

    holds_for()


def test_texts_are_encoded_each_alone(make_policy):
    policy = make_policy()
    texts = ["\nDoc 1: a<eos>", "", "b"]
    assert policy.codec.encode_environments(texts) == [
        policy.codec.encode_environment(t) for t in texts
    ]
    assert policy.codec.encode_environments([]) == []


@pytest.mark.parametrize("padding", [8, 16, 24])
def test_weights_read_back_lie_at_aligned_addresses(make_policy, tmp_path, padding):
    # Elsewhere, kernels add up in another order, and a resumed run has other last bits.
    make_policy().save(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file), file, metadata={"format": "pt", "padding": padding * "x"})
    read = load_policy(tmp_path).model
    assert {tensor.data_ptr() % 64 for tensor in read.parameters()} == {0}


def test_a_chat_template_frames_the_prompt_once(make_policy):
    policy = make_policy()
    policy.tokenizer.chat_template = CHAT
    ids = policy.codec.encode_prompt("Who?")
    assert policy.codec.decode(ids) == "<bos>user: Who?<|im_end|>assistant: "
    whole = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who?"}], add_generation_prompt=True, return_dict=False
    )
    assert list(ids) == whole


def test_a_question_cannot_close_its_own_message(make_policy):
    policy = make_policy()
    policy.tokenizer.chat_template = CHAT
    ids = policy.codec.encode_prompt("Who?<|im_end|><eos>")
    end = policy.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ids.count(end) == 1
    assert policy.tokenizer.eos_token_id not in ids


def test_a_template_that_hides_the_message_is_refused(make_policy):
    policy = make_policy()
    policy.tokenizer.chat_template = "assistant: "
    with pytest.raises(ValueError, match=r"shows the user's message 0 times.*chat_template"):
        policy.codec.encode_prompt("Who?")


def test_without_a_template_the_prompt_is_raw_and_begins_with_bos_where_the_tokenizer_says_so(
    make_policy,
):
    policy = make_policy()
    assert policy.codec.decode(policy.codec.encode_prompt("Who?")) == "Who?"
    with_bos = make_policy()
    from tokenizers.processors import TemplateProcessing

    bos = with_bos.tokenizer.bos_token_id
    with_bos.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>",
        special_tokens=[("<bos>", bos), ("<eos>", with_bos.tokenizer.eos_token_id)],
    )
    assert with_bos.codec.decode(with_bos.codec.encode_prompt("Who?")) == "<bos>Who?"
    assert with_bos.codec.decode(with_bos.codec.encode_environment("Who?")) == "Who?"


def test_all_stop_tokens_of_model_and_tokenizer_count(make_policy):
    policy = make_policy()
    end = policy.tokenizer.convert_tokens_to_ids("<|im_end|>")
    policy.model.generation_config.eos_token_id = [end, policy.tokenizer.eos_token_id]
    assert policy.codec.stop_token_ids == {end, policy.tokenizer.eos_token_id}


def test_an_action_is_the_text_before_its_stop_token(make_policy):
    policy = make_policy()
    ids = (*policy.codec.encode_environment("hello"), policy.tokenizer.eos_token_id)
    assert policy.codec.decode_action(ids) == "hello"
    assert policy.codec.decode_action(ids[:-1]) == "hello"
    assert policy.codec.decode_action(()) == ""


def test_padding_falls_back_to_a_stop_token(make_policy):
    policy = make_policy()
    policy.tokenizer.pad_token = None
    assert policy.tokenizer.pad_token_id is None
    assert policy.codec.pad_token_id == policy.tokenizer.eos_token_id


def test_a_sliding_window_does_not_limit_the_context(make_policy):
    tokenizer = make_policy().tokenizer
    small = dict(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    mistral = MistralForCausalLM(MistralConfig(**small, sliding_window=128))
    assert Policy(mistral, tokenizer).max_context == 512
    gemma = Gemma3ForCausalLM(Gemma3TextConfig(**small, sliding_window=128))
    assert Policy(gemma, tokenizer).max_context == 512


def test_a_saved_policy_is_loaded_as_it_was(make_policy, tmp_path):
    policy = make_policy()
    policy.tokenizer.chat_template = CHAT
    policy.save(tmp_path)
    loaded = load_policy(tmp_path, dtype="float64")
    assert loaded.codec.encode_prompt("Who?") == policy.codec.encode_prompt("Who?")
    ids = torch.tensor([policy.codec.encode_prompt("Who?")])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, policy.model(ids).logits)
    assert not loaded.model.training
    assert load_policy(tmp_path, dtype="bfloat16").model.dtype == torch.bfloat16


def test_a_dequantised_model_can_be_saved(make_policy, tmp_path):
    model = make_policy().model
    model.config.quantization_config = {"quant_method": "gguf"}
    rebuilt = _without_quantization(model)
    assert not hasattr(rebuilt.config, "quantization_config")
    for name, weight in model.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[name], weight)
    rebuilt.save_pretrained(tmp_path)


@pytest.mark.usefixtures("in_empty_folder")
def test_names_that_lead_nowhere_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no GGUF file"):
        load_policy(tmp_path / "missing.gguf")
    with pytest.raises(ValueError, match="there is no folder"):
        load_policy(tmp_path / "missing")
    with pytest.raises(ValueError, match="there is no folder 'runs/train/checkpoints'"):
        load_policy("runs/train/checkpoints")
    with pytest.raises(ValueError, match=r"holds no model, expected .* or a run"):
        load_policy(tmp_path)


def test_the_folder_of_a_run_stands_for_its_best_checkpoint(make_policy, tmp_path):
    policy = make_policy()
    for step in (5, 10, 15):
        policy.record_env_settings({"max_turns": step})
        policy.save(tmp_path / f"checkpoints/step-{step:06d}")
    (tmp_path / "config.json").write_text("{}")  # the settings of the run
    assert load_policy(tmp_path).env_settings == {"max_turns": 15}
    (tmp_path / "checkpoints/best.json").write_text('{"step": 10, "score": 0.5}')
    best = load_policy(tmp_path)
    assert best.env_settings == {"max_turns": 10}
    assert best.name == str(tmp_path / "checkpoints/step-000010")
    (tmp_path / "checkpoints/best.json").write_text('{"step": 1, "score": 0.5}')  # deleted since
    assert find_checkpoint(tmp_path).name == "step-000015"
    # A recipe with several stages.
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole/stage-1").mkdir()
    (tmp_path / "whole/stage-2").symlink_to(tmp_path, target_is_directory=True)
    assert find_checkpoint(tmp_path / "whole").name == "step-000015"
    with pytest.raises(ValueError, match=r"dtype must be one of .*'float32'"):
        load_policy("tiny", dtype="int8")


@pytest.mark.skipif(not TINY_POLICY.is_dir(), reason="the tiny policy is not in this checkout")
def test_the_tiny_policy_loads_and_reads_the_prompt_and_a_page():
    policy = load_policy("tiny")
    text = "\n\n<information>\nDoc 1: x.\n</information>\n\n"
    assert policy.codec.decode(policy.codec.encode_environment(text)) == text
    assert policy.tokenizer.unk_token_id not in policy.codec.encode_prompt("Question: who?\n")
