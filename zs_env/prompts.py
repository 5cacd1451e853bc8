"""The words the environment says: the prompt, the page of documents, the notices.

Everything the agent reads that is not its own comes from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zs_env.actions import MalformedKind
from zs_env.questions.question import Question
from zs_env.search.types import Document
from zs_env.text.sanitize import sanitize

INSTRUCT_PROMPT = (
    "Find the answer to the question at the end. Each time before you act, think between <think> "
    "and </think>. To look something up, put a short query between <search> and </search>; up to "
    "{num_documents} documents then appear between <information> and </information>. A page may "
    "be of no use: then search again, in other words if need be. You may act {max_turns} times in "
    "all. Once you know the answer, write it between <answer> and </answer>, as briefly as you "
    "can, without explanation.\nQuestion: {question}\n"
)
BARE_PROMPT = "Question: {question}\n"
NO_SEARCH_PROMPT = (
    "Answer the question at the end from what you know. Think first, between <think> and "
    "</think>; then write the answer between <answer> and </answer>, as briefly as you can, "
    "without explanation.\nQuestion: {question}\n"
)
PROMPTS: dict[str, str] = {
    "instruct": INSTRUCT_PROMPT,
    "bare": BARE_PROMPT,
    "no_search": NO_SEARCH_PROMPT,
}

NOTICES: dict[MalformedKind, str] = {
    "no_action": "I wrote neither a search nor an answer.",
    "unclosed": "I opened a tag and did not close it.",
    "unopened": "I closed a tag that I had not opened.",
    "empty_query": "My query was empty.",
    "empty_answer": "My answer was empty.",
    "spoofed_tag": "I wrote a page of documents myself; only a search brings documents.",
    "too_long": "I wrote too much at once.",
}
_NOTICE_TAIL = " I search with <search> and </search>, and I answer with <answer> and </answer>."


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """How an episode is put into words.

    Attributes:
        prompt: a name of `PROMPTS`, or a text in which `{question}` (needed), `{max_turns}` and
            `{num_documents}` are replaced.
        notices: what the agent is told after a malformed action, by kind; missing kinds fall back
            to `NOTICES`.
    """

    prompt: str = "instruct"
    notices: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if "{question}" not in self.template:
            raise ValueError(
                f"prompt {self.prompt!r} is neither one of {sorted(PROMPTS)} nor a text that "
                "holds '{question}'; add the place for the question"
            )

    @classmethod
    def of(cls, prompt: str | PromptTemplate) -> PromptTemplate:
        """Return a template as it is, and one with this prompt where a text is given."""
        return cls(prompt=prompt) if isinstance(prompt, str) else prompt

    @property
    def template(self) -> str:
        """The text with its places still open."""
        return PROMPTS.get(self.prompt, self.prompt)

    def render_prompt(self, question: Question, *, max_turns: int, num_documents: int) -> str:
        """Return the row's own prompt where it brings one, else the filled template."""
        if question.prompt is not None:
            return question.prompt
        # The question goes in last: a place named inside it stays as it is. It comes from a data
        # set, so its text is made neutral like a document's.
        template = self.template.replace("{max_turns}", str(max_turns))
        template = template.replace("{num_documents}", str(num_documents))
        return template.replace("{question}", sanitize(question.text))

    def render_notice(self, kind: MalformedKind) -> str:
        """Return what the agent is told after a malformed action."""
        notice = (self.notices or {}).get(kind)
        return f"\n{NOTICES[kind]}{_NOTICE_TAIL}\n" if notice is None else notice


def render_document(document: Document) -> str:
    """Put a document into one line of words: its title where it has one, then its text."""
    return f"{document.title}. {document.text}" if document.title else document.text


def render_page(documents: Sequence[Document]) -> str:
    """Put documents between information tags, numbered from 1; their text is neutral already."""
    lines = [
        f"Doc {rank}: {render_document(document)}"
        for rank, document in enumerate(documents, start=1)
    ]
    body = "\n".join(lines) if lines else "No documents were found."
    return f"\n\n<information>\n{body}\n</information>\n\n"
