"""Function calls of the turn format "tools": the tool, its calls, and the actions they stand for.

Calls are parsed with the tokenizer's response template where it has one. Otherwise the chat
template shows which of two forms the model writes: <tool_call>{JSON}</tool_call> (Qwen, SmolLM3,
Hermes) or the JSON object alone (Llama 3). A template that ignores tools gets them in a system
message, with the first form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from agents.llm.policy.turn_format import Message, split_once
from zs_env.actions import DEFAULT_TOOLS, Open, Search, Tool, parse_action
from zs_env.text.sanitize import sanitize_open
from zs_env.wrappers import OPEN_TOOL, SEARCH_TOOL

FUNCTIONS: dict[Tool, dict[str, Any]] = {"search": SEARCH_TOOL, "open": OPEN_TOOL}
_SYSTEM = (
    "You may call functions to help with the question. These are the functions:\n<tools>\n{tools}\n"
    "</tools>\nTo call one, write a JSON object with its name and its arguments:\n"
    '<tool_call>\n{"name": <name>, "arguments": <arguments>}\n</tool_call>'
)
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_OBJECT = re.compile(r'\{\s*"(?:name|type)"')
_TAG = re.compile(r"<(?=/?(?:search|open)>)")


class ToolTemplate:
    """A chat template with the tools of an agent.

    Args:
        tokenizer: a tokenizer with a chat template.
        tools: names of the tools.
    """

    def __init__(self, tokenizer: Any, tools: Sequence[Tool] = DEFAULT_TOOLS) -> None:
        self._tokenizer = tokenizer
        self._tools = tools
        self._functions = [FUNCTIONS[tool] for tool in tools]
        self._system: list[Message] = []
        shown = self.render([{"role": "user", "content": "."}])
        if self._functions[0]["function"]["description"] not in shown:
            text = _SYSTEM.replace("{tools}", "\n".join(map(json.dumps, self._functions)))
            self._system = [{"role": "system", "content": text}]

    def render(self, messages: list[Message]) -> str:
        """Render messages with the tools, and the start of the policy's turn."""
        return str(
            self._tokenizer.apply_chat_template(
                [*self._system, *messages],
                tools=None if self._system else self._functions,
                tokenize=False,
                add_generation_prompt=True,
            )
        )

    @cached_property
    def has_closing_tag(self) -> bool:
        """Whether a closing tag ends a call; otherwise a stop token ends it."""
        return self._write_call("search", {"query": "."}).endswith(_CLOSE)

    def write(self, text: str) -> str:
        """Return a turn with tags, such as one of a teacher, as the model writes it."""
        action = parse_action(text, tools=self._tools)
        if isinstance(action, Search):
            arguments: dict[str, Any] = {"query": action.query}
        elif isinstance(action, Open):
            arguments = {"document": action.document}
            arguments |= {"part": action.part} if action.part > 1 else {}
        else:
            return text
        before = text[: text.rfind(f"<{action.kind}>", 0, text.find(f"</{action.kind}>"))]
        return before + self._write_call(action.kind, arguments)

    def to_action(self, text: str) -> str:
        """Return a turn of the model as an action of the environment.

        The first call becomes <search>QUERY</search>, or <open>NUMBER</open>, after the text before
        it. Without a call that can be parsed, the turn is an answer or malformed: the tags of tools
        in it are broken.
        """
        try:
            before, call = self._parse(text)
            action = self._action(call)
        except (IndexError, KeyError, RecursionError, TypeError, ValueError):
            return _TAG.sub("(", text)
        return _TAG.sub("(", before) + action

    def _parse(self, text: str) -> tuple[str, Any]:
        """Return the text before the first call, and the call; raise an error without one."""
        if getattr(self._tokenizer, "response_template", None):
            message = self._tokenizer.parse_response(text, prefix="", tools=self._functions)
            thinking = message.get("reasoning_content") or message.get("thinking") or ""
            content = message.get("content") or ""
            before = f"<think>{thinking}</think>{content}" if thinking else content
            return before, message["tool_calls"][0]["function"]
        if self.has_closing_tag:
            end = text.index(_CLOSE)
            start = text.rindex(_OPEN, 0, end)
            return text[:start], json.loads(text[start + len(_OPEN) : end])
        start = next((found.start() for found in _OBJECT.finditer(text)), len(text))
        return text[:start], json.JSONDecoder().raw_decode(text, start)[0]

    def _action(self, call: Any) -> str:
        """Return the action of a parsed call; a list with one call is accepted."""
        if isinstance(call, list):
            (call,) = call
        name, arguments = call["name"], call.get("arguments", call.get("parameters"))
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        if name not in self._tools:
            raise ValueError(f"got a call of {name!r}, expected one of {self._tools}")
        if name == "open":
            part = f" p{arguments['part']}" if arguments.get("part") else ""
            return f"<open>{sanitize_open(str(arguments['document']) + part)}</open>"
        if not isinstance(arguments["query"], str):
            raise TypeError("a query is a text")
        return f"<search>{sanitize_open(arguments['query'])}</search>"

    def _write_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Return a call as the template writes it, or in the first form if it writes none."""
        function = {"name": name, "arguments": arguments}
        tagged = f"{_OPEN}\n{json.dumps(function, ensure_ascii=False)}\n{_CLOSE}"
        if self._system:
            return tagged
        call = {"type": "function", "function": function}
        prompt, page = {"role": "user", "content": "."}, {"role": "tool", "content": "PAGE"}
        start = self.render([prompt])
        plain, called = (
            self.render([prompt, {"role": "assistant", **turn}, page])
            for turn in ({"content": "TURN"}, {"content": "", "tool_calls": [call]})
        )
        end = split_once(split_once(plain, "TURN")[1], "PAGE")[0]
        written = called.removeprefix(start).partition(end)[0] if end else ""
        return written if called.startswith(start) and f'"{name}"' in written else tagged
