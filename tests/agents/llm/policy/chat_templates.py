"""Short chat templates with the structure of those of well-known models, and their tokenizer.

As in the originals: which messages get a system message, how tools, calls and pages are written,
what is trimmed, and what Qwen 3 removes from earlier turns.
"""

from __future__ import annotations

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agents.llm.policy.policy import Policy
from agents.llm.policy.turn_format import TurnFormat
from zs_env.prompts import PROMPTS, render_page
from zs_env.search.types import Document

_CHATML_START = (
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% "
    "if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)
_CHATML_TOOLS = (
    "{{ '# Tools\\n\\nThese are the functions:\\n<tools>' }}{% for tool in tools %}"
    "{{ '\\n' + (tool | tojson) }}{% endfor %}{{ '\\n</tools>\\n\\nWrite each call as"
    '\\n<tool_call>\\n{"name": <name>, "arguments": <arguments>}\\n</tool_call>\' }}'
)
_CHATML_CALLS = (
    "{% for call in m.tool_calls or [] %}{{ '\\n' if CONTENT or not loop.first else '' }}"
    '{{ \'<tool_call>\\n{"name": "\' + call.function.name + \'", "arguments": \' + '
    "(call.function.arguments | tojson) + '}\\n</tool_call>' }}{% endfor %}"
)
_CHATML_PAGE = (
    "{{ '<|im_start|>user' if loop.first or messages[loop.index0 - 1].role != 'tool' else '' }}"
    "{{ '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}"
    "{{ '<|im_end|>\\n' if loop.last or messages[loop.index0 + 1].role != 'tool' else '' }}"
)

QWEN_25 = (
    "{{ '<|im_start|>system\\nYou are Qwen.' }}{% if tools %}{{ '\\n\\n' }}"
    + _CHATML_TOOLS
    + "{% endif %}{{ '<|im_end|>\\n' }}{% for m in messages %}{% if m.role == 'tool' %}"
    + _CHATML_PAGE
    + "{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content }}"
    + _CHATML_CALLS.replace("CONTENT", "m.content")
    + "{{ '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    + _CHATML_START
)

# Thoughts stay only in turns after the last user message, where every last turn has some.
QWEN_3 = (
    "{% if tools %}{{ '<|im_start|>system\\n' }}"
    + _CHATML_TOOLS
    + "{{ '<|im_end|>\\n' }}{% endif %}{% set ns = namespace(last=0) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'tool' %}"
    + _CHATML_PAGE
    + "{% elif m.role == 'assistant' %}{% set pieces = m.content.split('</think>') %}"
    "{{ '<|im_start|>assistant\\n' }}{% if loop.index0 > ns.last and "
    "(loop.last or pieces | length > 1) %}"
    "{{ '<think>\\n' + pieces[0].split('<think>')[-1].strip('\\n') + '\\n</think>\\n\\n' }}"
    "{{ pieces[-1].lstrip('\\n') }}{% elif pieces | length > 1 %}{{ pieces[-1].lstrip('\\n') }}"
    "{% else %}{{ m.content }}{% endif %}"
    + _CHATML_CALLS.replace("CONTENT", "m.content")
    + "{{ '<|im_end|>\\n' }}{% else %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    + _CHATML_START
)

LLAMA_3 = (
    "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\\n\\n' }}{% if tools %}"
    "{{ 'Environment: ipython\\n' }}{% endif %}{{ 'Today Date: 26 Jul 2024\\n\\n' }}{% if tools %}"
    '{{ \'Call a function with {"name": name, "parameters": dictionary}.\\n\\n\' }}'
    "{% for tool in tools %}{{ (tool | tojson(indent=4)) + '\\n\\n' }}{% endfor %}{% endif %}"
    "{{ '<|eot_id|>' }}{% for m in messages %}{% if m.role == 'tool' %}"
    "{{ '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + ({'output': m.content} | tojson) }}"
    "{% elif m.tool_calls %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% set call = m.tool_calls[0].function %}"
    "{{ '{\"name\": \"' + call.name + '\", \"parameters\": ' + (call.arguments | tojson) + '}' }}"
    "{% else %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + (m.content | trim) }}"
    "{% endif %}{{ '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)

# Ignores tools.
SMOLLM_2 = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\\nYou are SmolLM.<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# Shows tools, but no calls; pages are user messages.
SMOLLM_3 = (
    "{{ '<|im_start|>system\\n## Metadata\\n\\nToday Date: ' + strftime_now('%Y') + '\\n\\n' }}"
    "{% if tools %}{{ '### Tools\\n\\n<tools>\\n' }}{% for tool in tools %}"
    "{{ (tool | tojson) + '\\n' }}{% endfor %}"
    "{{ '</tools>\\n' }}{% endif %}{{ '<|im_end|>\\n' }}{% for m in messages %}"
    "{% if m.role == 'assistant' %}{% generation %}"
    "{{ '<|im_start|>assistant\\n' + m.content.lstrip('\\n') + '<|im_end|>\\n' }}"
    "{% endgeneration %}{% else %}"
    "{{ '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

TEMPLATES = {
    "Qwen 2.5": QWEN_25,
    "Qwen 3": QWEN_3,
    "Llama 3": LLAMA_3,
    "SmolLM 2": SMOLLM_2,
    "SmolLM 3": SMOLLM_3,
}
# Templates that write the calls of a message themselves.
WRITES_CALLS = ("Qwen 2.5", "Qwen 3", "Llama 3")
_CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>")
_CONTROL += ("<|start_header_id|>", "<|end_header_id|>")
# As in Qwen and SmolLM 3: tokens that are not special.
_TOOL_TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
# Digits, words and punctuation, which takes the line breaks after it, as in Llama 3 and Qwen.
_PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"


def build_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer with a few hundred merges and a chat template."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    page = render_page([Document("Ash was written by Mara Venn in 1951.")])
    texts = [PROMPTS["instruct"].text, PROMPTS["tools"].text, page, "<answer>a1</answer>\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    end = "<|eot_id|>" if name == "Llama 3" else "<|im_end|>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|begin_of_text|>" if name == "Llama 3" else None,
        eos_token=end,
        pad_token=end,
        additional_special_tokens=list(_CONTROL),
    )
    tokenizer.add_tokens(list(_TOOL_TAGS))
    tokenizer.chat_template = TEMPLATES[name]
    return tokenizer


def make_chat_policy(name: str, turn_format: TurnFormat, *, context: int = 2048) -> Policy:
    """Return a random two-layer Llama in float64 with the tokenizer of a template."""
    tokenizer = build_tokenizer(name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    policy = Policy(LlamaForCausalLM(config).double().eval(), tokenizer, name=name)
    policy.set_turn_format(turn_format)
    return policy
