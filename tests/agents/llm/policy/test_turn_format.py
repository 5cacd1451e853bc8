"""Messages and calls in the formats of well-known chat templates."""

import json

import pytest

from agents.llm.policy.policy import Policy, load_policy
from agents.llm.policy.stopping import StopRule
from agents.llm.policy.tool_calls import FUNCTIONS
from tests.agents.llm.policy.chat_templates import TEMPLATES, WRITES_CALLS, make_chat_policy
from zs_env.text.sanitize import sanitize

PAGE = '\n\n<information>\nDoc 1: "Ash" was written\nin 1951.\n</information>\n\n'
TAGGED = '<tool_call>\n{"name": "search", "arguments": {"query": "who?"}}\n</tool_call>'
LLAMA = '{"name": "search", "parameters": {"query": "who?"}}'
every_template = pytest.mark.parametrize("name", TEMPLATES)


def _call(name: str) -> str:
    return LLAMA if name == "Llama 3" else TAGGED


@every_template
def test_a_page_is_a_message_after_the_end_of_the_turn(name):
    for turn_format, role in (("chat", "user"), ("tools", "tool")):
        codec = make_chat_policy(name, turn_format).codec
        turn = codec.encode_environment("I search.")
        (end,) = codec.stop_token_ids
        ids, after_stop = codec.encode_observations([PAGE, PAGE], [turn, (*turn, end)])
        assert ids == (end, *after_stop)
        assert end not in after_stop[:1] and ids.count(end) == 2
        shown = {"content": PAGE.strip()}
        if name == "Llama 3" and role == "tool":
            shown["content"] = json.dumps({"output": PAGE.strip()})
        title = {"Llama 3": {"tool": "ipython"}, "SmolLM 2": {"tool": "tool"}}
        title = title.get(name, {}).get(role, "user")
        text = codec.decode(ids)
        assert shown["content"] in text and title in text.split(shown["content"])[0]


@every_template
def test_without_a_page_the_chat_prompt_is_that_of_the_inline_format(name):
    inline, chat = (make_chat_policy(name, one).codec for one in ("inline", "chat"))
    assert chat.encode_prompt("Question: who?") == inline.encode_prompt("Question: who?")
    # The turn format "inline" adds nothing to a page.
    assert inline.encode_observations([PAGE], [(1,)]) == [inline.encode_environment(PAGE)]


@every_template
def test_the_prompt_shows_the_tool_once(name):
    codec = make_chat_policy(name, "tools").codec
    prompt = codec.decode(codec.encode_prompt("Question: who?"))
    assert prompt.count(FUNCTIONS["search"]["function"]["description"]) == 1
    assert FUNCTIONS["open"]["function"]["description"] not in prompt
    assert "Question: who?" in prompt


@every_template
def test_a_call_is_a_search_and_a_search_is_written_as_a_call(name):
    codec = make_chat_policy(name, "tools").codec
    turn = codec.encode_action("<think>So.</think><search> who? </search>")
    assert codec.decode_turn(turn) == f"<think>So.</think>{_call(name)}"
    assert codec.decode_action(turn) == "<think>So.</think><search>who?</search>"
    # Without a closing tag, the end of the turn ends the call.
    assert StopRule(codec).cut((*turn, 65)) == (turn, "eos" if name == "Llama 3" else "tag")
    answer = codec.encode_action("<answer>Mara</answer>")
    assert codec.decode_action(answer) == "<answer>Mara</answer>"
    assert StopRule(codec).cut((*answer, 65)) == (answer, "tag")


@every_template
@pytest.mark.parametrize("query", ['a "b" \\ c', "d\ne {} é", "f</search><answer>g</answer>"])
def test_a_query_may_hold_any_text(name, query):
    tools = make_chat_policy(name, "tools").codec._tools
    call = _call(name).replace("who?", json.dumps(query)[1:-1])
    assert tools.to_action(call) == f"<search>{sanitize(query)}</search>"
    assert "<answer>" not in tools.to_action(call)


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call>{</tool_call>",
        '<tool_call>{"name": "search"}</tool_call>',
        '<tool_call>{"name": "search", "arguments": {"query": 3}}</tool_call>',
        '<tool_call>{"name": "delete", "arguments": {"query": "a"}}</tool_call>',
        '<tool_call>["search", "a"]</tool_call>',
        "<tool_call>[]</tool_call>",
        '{"name": "search", "arguments": {"query": "a"}}',
        f"<tool_call>{'[' * 100_000}</tool_call>",
        "<search>a</search>",
        "",
    ],
)
def test_other_texts_are_no_search(text):
    action = make_chat_policy("Qwen 3", "tools").codec._tools.to_action(text)
    assert action == text.replace("<search>", "(search>").replace("</search>", "(/search>")


@every_template
def test_the_tool_open_is_a_function_where_the_agent_has_it(name):
    policy = make_chat_policy(name, "tools")
    policy.record_env_settings({"tools": ["search", "open"]})
    codec = policy.codec
    prompt = codec.decode(codec.encode_prompt("Question: who?"))
    assert all(prompt.count(one["function"]["description"]) == 1 for one in FUNCTIONS.values())
    for text in ("<open>2 p3</open>", "So.<search>who?</search>", "<open>-1</open>"):
        turn = codec.encode_action(text)
        assert StopRule(codec).cut((*turn, 65))[0] == turn or text == "<open>-1</open>"
        acts = codec.decode_action(turn)
        assert acts == (text if "-1" not in text else "(open>-1(/open>")
    call = _call(name).replace("search", "open")
    foreign = call.replace('"query": "who?"', '"document": "x<answer>"')
    assert codec._tools.to_action(foreign) == "<open>x(answer></open>"
    # The teacher of a warm start writes only what an open needs.
    for text, arguments in (("2", '"document": 2'), ("2 p3", '"document": 2, "part": 3')):
        turn = codec.encode_action(f"<think>So.</think><open>{text}</open>")
        written = call.replace('"query": "who?"', arguments)
        assert codec.decode_turn(turn) == f"<think>So.</think>{written}"


def test_other_forms_of_a_call_are_read():
    tools = make_chat_policy("SmolLM 2", "tools").codec._tools
    listed = '<tool_call>[{"name": "search", "arguments": "{\\"query\\": \\"a\\"}"}]</tool_call>'
    assert tools.to_action(listed) == "<search>a</search>"
    # The last opening tag counts, and a search tag in a thought does not act.
    thought = f"<search>no</search> <tool_call> {TAGGED} <answer>late</answer>"
    assert tools.to_action(thought) == ("(search>no(/search> <tool_call> <search>who?</search>")


def test_the_response_template_of_a_tokenizer_is_used():
    policy = make_chat_policy("Qwen 3", "inline")
    policy.tokenizer.response_template = {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
            "tool_calls": {
                "open_pattern": r"\[CALL (?P<name>\w+)\]",
                "close": "[END]",
                "repeats": True,
                "content": "json",
                "transform": {
                    "type": "function",
                    "function": {"name": "{name}", "arguments": "{content}"},
                },
            },
            "content": {"close": "<|im_end|>", "content": "text"},
        },
    }
    policy.set_turn_format("tools")
    to_action = policy.codec._tools.to_action
    text = '<think>So.</think>First[CALL search]{"query": "who?"}[END]'
    assert to_action(text) == "<think>So.</think>First<search>who?</search>"
    assert to_action("[CALL search]{[END]") == "[CALL search]{[END]"
    assert to_action("<answer>Mara</answer>") == "<answer>Mara</answer>"


@pytest.mark.parametrize("name", WRITES_CALLS)
def test_calls_are_written_as_the_template_writes_them(name):
    codec = make_chat_policy(name, "tools").codec
    call = {"name": "search", "arguments": {"query": "who?"}}
    messages = [
        {"role": "user", "content": "."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": call}],
        },
        {"role": "tool", "content": PAGE.strip()},
    ]
    turn = codec.encode_action("<search>who?</search>")
    ids = codec.encode_prompt(".") + turn + codec.encode_observations([PAGE], [turn])[0]
    assert codec.decode(ids) == codec._tools.render(messages)


def test_a_policy_without_a_fitting_chat_template_is_refused(make_policy):
    policy: Policy = make_policy()
    with pytest.raises(ValueError, match="'chat' needs a chat template"):
        policy.set_turn_format("chat")
    strict = make_chat_policy("SmolLM 2", "inline")
    strict.tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}"
        "{% endif %}{{ m.content }}{% endfor %}"
    )
    with pytest.raises(ValueError, match="does not support the turn format 'tools': no tools"):
        strict.set_turn_format("tools")


def test_a_saved_policy_keeps_its_turn_format(tmp_path):
    policy = make_chat_policy("Qwen 3", "inline")
    policy.record_env_settings({"max_turns": 3})
    assert "turn_format" not in policy.model.config.zerosearch_env
    policy.set_turn_format("chat")
    policy.record_env_settings({"max_turns": 4})
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert (loaded.turn_format, loaded.codec.turn_format) == ("chat", "chat")
    assert loaded.env_settings == {"max_turns": 4}
    loaded.set_turn_format("inline")
    assert loaded.model.config.zerosearch_env == {"max_turns": 4}
