"""Function calls of the turn format "tools": the tool, its calls, and the actions they stand for.

Calls are parsed with the tokenizer's response template where it has one. Otherwise the chat
template shows which of two forms the model writes: <tool_call>{JSON}</tool_call> (Qwen, SmolLM3,
Hermes) or the JSON object alone (Llama 3). A template that ignores tools gets them in a system
message, with the first form.
"""

from __future__ import annotations

import json
import re
from typing import Any

from agents.llm.policy.turn_format import Message, fill_placeholder, split_once
from zs_env.actions import Search, parse_action
from zs_env.text.sanitize import sanitize

SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search for documents that help to answer the question.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "A short query."}},
            "required": ["query"],
        },
    },
}
_SYSTEM = (
    "You may call a function to help with the question. These are the functions:\n"
    f"<tools>\n{json.dumps(SEARCH)}\n</tools>\n"
    "To call one, write a JSON object with its name and its arguments:\n"
    '<tool_call>\n{"name": <name>, "arguments": <arguments>}\n</tool_call>'
)
_QUERY = 'QUERY"GOESHERE'
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TAGGED = f'{_OPEN}\n{{"name": "search", "arguments": {{"query": "', f'"}}}}\n{_CLOSE}', True
_OBJECT = re.compile(r'\{\s*"(?:name|type)"')
_SEARCH_TAG = re.compile(r"<(?=/?search>)")


class ToolTemplate:
    """A chat template with the tool `search`.

    Args:
        tokenizer: a tokenizer with a chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._system: list[Message] = []
        if SEARCH["function"]["description"] not in self.render([{"role": "user", "content": "."}]):
            self._system = [{"role": "system", "content": _SYSTEM}]
        self._call = self._find_call()

    def render(self, messages: list[Message]) -> str:
        """Render messages with the tool, and the start of the policy's turn."""
        return str(
            self._tokenizer.apply_chat_template(
                [*self._system, *messages],
                tools=None if self._system else [SEARCH],
                tokenize=False,
                add_generation_prompt=True,
            )
        )

    @property
    def has_closing_tag(self) -> bool:
        """Whether a closing tag ends a call; otherwise a stop token ends it."""
        return self._call[1].endswith(_CLOSE)

    def write(self, text: str) -> str:
        """Return a turn with tags, such as one of a teacher, as the model writes it."""
        action = parse_action(text)
        if not isinstance(action, Search):
            return text
        return text[: text.rfind("<search>")] + fill_placeholder(self._call, action.query)

    def to_action(self, text: str) -> str:
        """Return a turn of the model as an action of the environment.

        The first call becomes <search>QUERY</search> after the text before it. Without a call that
        can be parsed, the turn is an answer or malformed: search tags in it are broken.
        """
        try:
            before, query = self._parse(text)
        except (IndexError, KeyError, RecursionError, TypeError, ValueError):
            return _SEARCH_TAG.sub("(", text)
        return f"{_SEARCH_TAG.sub('(', before)}<search>{sanitize(query)}</search>"

    def _parse(self, text: str) -> tuple[str, str]:
        """Return the text before the first call, and its query; raise an error without a call."""
        if getattr(self._tokenizer, "response_template", None):
            message = self._tokenizer.parse_response(text, prefix="", tools=[SEARCH])
            thinking = message.get("reasoning_content") or message.get("thinking") or ""
            content = message.get("content") or ""
            before = f"<think>{thinking}</think>{content}" if thinking else content
            return before, _query(message["tool_calls"][0]["function"])
        if self.has_closing_tag:
            end = text.index(_CLOSE)
            start = text.rindex(_OPEN, 0, end)
            return text[:start], _query(json.loads(text[start + len(_OPEN) : end]))
        start = next((found.start() for found in _OBJECT.finditer(text)), len(text))
        return text[:start], _query(json.JSONDecoder().raw_decode(text, start)[0])

    def _find_call(self) -> tuple[str, str, bool]:
        """Return the text of a call around its query, from the template."""
        if self._system:
            return _TAGGED
        call = {"type": "function", "function": {"name": "search", "arguments": {"query": _QUERY}}}
        prompt, page = {"role": "user", "content": "."}, {"role": "tool", "content": "PAGE"}
        start = self.render([prompt])
        plain, called = (
            self.render([prompt, {"role": "assistant", **turn}, page])
            for turn in ({"content": "TURN"}, {"content": "", "tool_calls": [call]})
        )
        end = split_once(split_once(plain, "TURN")[1], "PAGE")[0]
        written = called.removeprefix(start).partition(end)[0] if end else ""
        if not called.startswith(start) or "GOESHERE" not in written:
            return _TAGGED
        return split_once(written, _QUERY)


def _query(call: Any) -> str:
    """Return the query of a parsed call; a list with one call is accepted."""
    if isinstance(call, list):
        (call,) = call
    arguments = call["arguments"] if "arguments" in call else call["parameters"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if call["name"] != "search" or not isinstance(arguments["query"], str):
        raise ValueError("the call is not one of search with a text")
    return arguments["query"]
