"""Every text that an agent reads: the prompt, the documents of a search, notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from zs_env.actions import DEFAULT_TOOLS, MalformedKind, Tool
from zs_env.questions.question import Question
from zs_env.search.types import Document
from zs_env.text.sanitize import sanitize, sanitize_open

_NOTHING = "No documents were found."
INSTRUCT_PROMPT = (
    "Answer the question below. Before each action, think between <think> and </think>. To "
    "search, write a short query between <search> and </search>; up to {num_documents} documents "
    "are then shown between <information> and </information>. If the documents do not help, search "
    "again with different words. You have {max_turns} actions in total. When you know the answer, "
    "write it between <answer> and </answer>, as briefly as possible and without explanation.\n"
    "Question: {question}\n"
)
TOOLS_PROMPT = (
    "Answer the question below. Before each action, think between <think> and </think>. To find "
    "documents, call the function search with a short query; it returns up to {num_documents} "
    "documents. If the documents do not help, search again with different words. You have "
    "{max_turns} actions in total. When you know the answer, write it between <answer> and "
    "</answer>, as briefly as possible and without explanation.\nQuestion: {question}\n"
)
TOOL_CALLS_PROMPT = (
    "Answer the question below. Find documents with the tool `search`. If they do not help, search "
    "again with different words. You have {max_turns} tool calls in total. When you know the "
    "answer, give it with the tool `answer`, as briefly as possible and without explanation.\n"
    "{tools}Question: {question}\n"
)
BARE_PROMPT = "Question: {question}\n"
NO_SEARCH_PROMPT = (
    "Answer the question below from your own knowledge. First think between <think> and </think>. "
    "Then write the answer between <answer> and </answer>, as briefly as possible and without "
    "explanation.\nQuestion: {question}\n"
)

NOTICES: dict[MalformedKind, str] = {
    "no_action": "Your last message contained neither a search nor an answer.",
    "unclosed": "Your last message opened a tag and did not close it.",
    "unopened": "Your last message closed a tag that it had not opened.",
    "empty_query": "The query in your last message was empty.",
    "empty_answer": "The answer in your last message was empty.",
    "spoofed_tag": "Your last message contained a page of documents; only a search returns one.",
    "too_long": "Your last message was too long.",
    "too_many_queries": "The search in your last message had too many queries.",
    "invalid_open": "Your last message opened something other than a document: write its number.",
    "no_page": "Your last message opened a document before any search.",
    "unknown_document": "The last page has no document with the number in your last message.",
    "unknown_part": "The document in your last message has no such part.",
    "cannot_open": "This search engine cannot open documents.",
}
_TOOL_CALLS_NOTICE_END = "Call one of your tools."
_TOOLS_NOTICE_END = "Call the function search, or answer with <answer> and </answer>."
_NOTICE_END = "Search with <search> and </search>, or answer with <answer> and </answer>."
_NOTICE_END_WITH_OPEN = (
    "Search with <search> and </search>, open a document of the last page with <open> and </open>, "
    "or answer with <answer> and </answer>."
)
QUERIES_HINT = (
    "A search may have up to {max_queries} queries, each on its own line; the documents of each "
    "are shown.\n"
)
OPEN_HINT = (
    "To read a document of the last page in full, write its number, as in <open>2</open>; "
    "<open>2 p3</open> is part 3 of a long document.\n"
)
OPEN_CALL_HINT = (
    "To read a document of the last page in full, give its number to the tool `open`.\n"
)
# The tiny policy was trained with the prompt "bare" and these notices.
BARE_NOTICES: dict[MalformedKind, str] = {
    "no_action": "I wrote neither a search nor an answer.",
    "unclosed": "I opened a tag and did not close it.",
    "unopened": "I closed a tag that I had not opened.",
    "empty_query": "My query was empty.",
    "empty_answer": "My answer was empty.",
    "spoofed_tag": "I wrote a page of documents myself; only a search brings documents.",
    "too_long": "I wrote too much at once.",
}
_BARE_NOTICE_END = "I search with <search> and </search>, and I answer with <answer> and </answer>."


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The prompt and the notices of an episode.

    Attributes:
        text: the prompt; `{question}` (required), `{max_turns}` and `{num_documents}` are replaced,
            and `{tools}` by a line about several queries and about each tool but the search, if
            the agent has them.
        notices: messages after a malformed action by kind; a missing kind has a default message.
        open_hint: the line about the tool "open" in `{tools}`.
        overrides: whether questions that have a prompt of their own get this one. It is set for a
            prompt that a user chose.
    """

    text: str
    notices: Mapping[str, str] | None = None
    open_hint: str = OPEN_HINT
    overrides: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if "{question}" not in self.text:
            raise ValueError(
                f"got the prompt {self.text!r}, expected one of {[*PROMPTS]} or a text that "
                "contains '{question}'"
            )

    @classmethod
    def of(cls, prompt: str | PromptTemplate | None) -> PromptTemplate:
        """Return the template that a user chose: a name of `PROMPTS`, or the text of a prompt.

        It overrides the prompts of questions. None is "instruct" for questions without a prompt.
        """
        if prompt is None:
            return PROMPTS["instruct"]
        if isinstance(prompt, str):
            prompt = PROMPTS.get(prompt) or cls(prompt)
        return replace(prompt, overrides=True)

    def render_prompt(
        self,
        question: Question,
        *,
        max_turns: int,
        num_documents: int,
        tools: Sequence[Tool] = DEFAULT_TOOLS,
        max_queries: int = 1,
    ) -> str:
        """Return the filled template, or the question's own prompt if it is not overridden."""
        if question.prompt is not None and not self.overrides:
            return question.prompt
        # The question is inserted last, so that a placeholder in it is not replaced.
        prompt = self.text.replace("{max_turns}", str(max_turns))
        prompt = prompt.replace("{num_documents}", str(num_documents))
        hints = QUERIES_HINT.replace("{max_queries}", str(max_queries)) if max_queries > 1 else ""
        hints += self.open_hint if "open" in tools else ""
        prompt = prompt.replace("{tools}", hints)
        return prompt.replace("{question}", sanitize(question.text))

    def render_notice(self, kind: MalformedKind, tools: Sequence[Tool] = DEFAULT_TOOLS) -> str:
        """Return the message after a malformed action."""
        notice = (self.notices or {}).get(kind)
        end = _NOTICE_END_WITH_OPEN if "open" in tools else _NOTICE_END
        return f"\n{NOTICES[kind]} {end}\n" if notice is None else notice


PROMPTS: dict[str, PromptTemplate] = {
    "instruct": PromptTemplate(INSTRUCT_PROMPT.replace("Question: ", "{tools}Question: ")),
    "bare": PromptTemplate(
        BARE_PROMPT,
        {kind: f"\n{notice} {_BARE_NOTICE_END}\n" for kind, notice in BARE_NOTICES.items()},
    ),
    "tools": PromptTemplate(
        TOOLS_PROMPT,
        {kind: f"\n{notice} {_TOOLS_NOTICE_END}\n" for kind, notice in NOTICES.items()},
    ),
    "tool_calls": PromptTemplate(
        TOOL_CALLS_PROMPT,
        {kind: f"\n{notice} {_TOOL_CALLS_NOTICE_END}\n" for kind, notice in NOTICES.items()},
        open_hint=OPEN_CALL_HINT,
    ),
    "no_search": PromptTemplate(NO_SEARCH_PROMPT),
}


def render_document(document: Document) -> str:
    """Return a document as one text: its title, if it has one, and its text."""
    return f"{document.title}. {document.text}" if document.title else document.text


def render_page(documents: Sequence[Document]) -> str:
    """Return sanitized documents between information tags, numbered from 1."""
    lines = [
        f"Doc {rank}: {render_document(document)}"
        for rank, document in enumerate(documents, start=1)
    ]
    body = "\n".join(lines) if lines else _NOTHING
    return f"\n\n<information>\n{body}\n</information>\n\n"


def render_sections(sections: Sequence[tuple[str, Sequence[Document]]]) -> str:
    """Return the queries of a search, each followed by its sanitized documents, as a page."""
    lines: list[str] = []
    for query, documents in sections:
        lines.append(f"Query: {sanitize_open(query)}")
        lines += [f"Doc {one.rank + 1}: {render_document(one)}" for one in documents]
        lines += [] if documents else [_NOTHING]
    body = "\n".join(lines)
    return f"\n\n<information>\n{body}\n</information>\n\n"


def render_opened(number: int, text: str, part: int, num_parts: int) -> str:
    """Return a part of a sanitized document between information tags."""
    label = f"Doc {number}" if num_parts == 1 else f"Doc {number} (part {part} of {num_parts})"
    return f"\n\n<information>\n{label}: {text}\n</information>\n\n"
