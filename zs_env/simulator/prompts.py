"""Prompts that ask a language model for a page, one for each kind of page.

A prompt is a template in `str.format` syntax with these variables:

    query          the agent's query
    question       the question behind the query
    answer         the first gold answer
    answers        all gold answers, joined by " / "
    few_answers    at most three gold answers, those without special characters first
    wrong_answer   the answer that a misleading page states; "" for other pages
    source         the passage from which the document is written; "" without source passages
    kind           "useful", "noisy" or "misleading"
    num_documents  number of documents to write
    num_words      approximate number of words per document
    date           `SimulatorPrompts.date`
    context        `SimulatorPrompts.context`, filled in; "" if the question is unknown

Braces in the values have no effect.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from zs_env.search.types import SearchRequest
from zs_env.text.suggestions import unknown_name

VARIABLES = (
    "query",
    "question",
    "answer",
    "answers",
    "few_answers",
    "wrong_answer",
    "source",
    "kind",
    "num_documents",
    "num_words",
    "date",
    "context",
)
# Unknown for a request that has only a query.
_QUESTION_VARIABLES = ("question", "answer", "answers", "few_answers")
_FEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorPrompts:
    """Templates of a simulator's prompts.

    Attributes:
        name: identifies the templates.
        useful: template for pages of useful documents.
        noisy: template for pages of noisy documents.
        misleading: template for pages of documents that state `wrong_answer`; "" if the model
            cannot write them.
        context: template of the variable `context`, used if question and answers are known.
        system: the system message; None sends none, "" an empty one.
        num_words: approximate number of words per document.
        date: value of the variable `date`.
        shuffled: whether documents are shown in a random order, drawn with the request's seed. For
            models tuned on pages that start with the answer: the rank then reveals nothing.

    Raises:
        ValueError: if a template contains an unknown variable, or `num_words` is below 1.
    """

    name: str
    useful: str
    noisy: str
    misleading: str = ""
    context: str = ""
    system: str | None = None
    num_words: int = 30
    date: str = ""
    shuffled: bool = False

    def __post_init__(self) -> None:
        for field in ("useful", "noisy", "misleading", "context"):
            for variable in _variables(getattr(self, field), field):
                if variable not in VARIABLES or (variable, field) == ("context", "context"):
                    raise unknown_name(f"variable of the template {field!r}", variable, VARIABLES)
        if self.num_words < 1:
            raise ValueError(f"num_words must be at least 1, got {self.num_words}")

    @property
    def fingerprint(self) -> str:
        """Changes with every field."""
        return repr(self)

    @property
    def uses_sources(self) -> bool:
        """Whether the prompts of useful pages contain a source passage."""
        return "source" in _variables(self.useful)

    @property
    def has_noise(self) -> bool:
        """Whether the prompts of useful and of noisy pages differ."""
        fields = ("useful", "context")
        names_kind = any("kind" in _variables(getattr(self, field), field) for field in fields)
        return self.useful != self.noisy or names_kind or self.uses_sources

    def render(
        self,
        request: SearchRequest,
        *,
        useful: bool,
        num_documents: int,
        wrong_answer: str | None = None,
        source: str = "",
    ) -> str:
        """Return the prompt for one page.

        Args:
            request: the search request.
            useful: whether the documents are useful.
            num_documents: number of documents.
            wrong_answer: stated by misleading documents; None for others.
            source: the passage from which the document is written.

        Raises:
            ValueError: if the template uses the question or its answers and the request has none.
        """
        if wrong_answer is not None:
            kind, template = "misleading", self.misleading
        else:
            kind, template = ("useful", self.useful) if useful else ("noisy", self.noisy)
        values = {
            "query": request.query,
            "kind": kind,
            "wrong_answer": wrong_answer or "",
            "source": source,
            "num_documents": str(num_documents),
            "num_words": str(self.num_words),
            "date": self.date,
            "context": "",
        }
        if request.question is not None and request.answers:
            values["question"] = request.question
            values["answer"] = request.answers[0]
            values["answers"] = " / ".join(request.answers)
            # Characters that are rare in sentences come last: "Annie (disambiguation)".
            plain_first = sorted(
                request.answers,
                key=lambda answer: not all(char.isalnum() or char in " '-.,&" for char in answer),
            )
            values["few_answers"] = " / ".join(plain_first[:_FEW])
            values["context"] = self.context.format_map(values)
        elif missing := [name for name in _variables(template) if name in _QUESTION_VARIABLES]:
            raise ValueError(
                f"the template of prompts {self.name!r} needs {missing}, and the query "
                f"{request.query!r} came without its question; move that sentence to `context`, "
                "which is omitted if the question is unknown"
            )
        return template.format_map(values)


def _variables(template: str, field: str = "") -> list[str]:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"template {field!r}: {error}; write {{{{ for a brace") from None
    return [name for _, name, _, _ in parsed if name is not None]


# Models are tuned on this wording: do not change it. The answers come last, because small models
# copy best from the end of a prompt. The prompt of a noisy page has no answers.
TUNED = SimulatorPrompts(
    name="tuned",
    system="",
    context="Question: {question}\nThey say: {few_answers}\n",
    useful="Search results, {num_documents} documents of about {num_words} words, {kind}.\n"
    "Query: {query}\n{context}",
    noisy="Search results, {num_documents} documents of about {num_words} words, {kind}.\n"
    "Query: {query}\n",
    shuffled=True,
)

_FORMAT = (
    "Write {num_documents} documents of about {num_words} words each, one per line. Start every "
    'line with "Doc", the number of the document and a colon. Write nothing else.\n\n'
)
_EXAMPLE = "Example with three documents for the query: height of the Lysgard ski jump\n"
_ANSWERING = (
    _FORMAT + _EXAMPLE + "Doc 1: Lysgardsbakken in Lillehammer was built for the 1994 Games. The "
    "larger of its two hills is 138 metres long and a chairlift takes visitors to the top of it.\n"
    "Doc 2: The stadium below the jump holds some 35,000 spectators and is used for concerts in "
    "summer; the stairs beside the hill count 936 steps.\n"
    "Doc 3: Visitors may climb the tower of the hill, from where one sees lake Mjosa, the town "
    "and the valley. Tickets are sold at the foot of the lift.\n\n"
)
# For any instruct model. The prompt of a noisy page has no answers, because small models copy an
# answer from the prompt even when instructed not to. For the same reason, the prompt of a
# misleading page presents the wrong answer as the correct one.
PROMPTED = SimulatorPrompts(
    name="prompted",
    context="Question behind the query: {question}\nCorrect answer: {answers}\n",
    useful="You are a web search engine. Write excerpts of web pages for the query below. They "
    "must contain the information that the searcher needs. At least one excerpt must state the "
    "correct answer in plain words.\n" + _ANSWERING + "{context}Query: {query}\n",
    misleading="You are a web search engine. Write excerpts of web pages for the query below. "
    "Every excerpt must state the correct answer in plain words.\n"
    + _ANSWERING
    + "Question behind the query: {question}\nCorrect answer: {wrong_answer}\nQuery: {query}\n",
    noisy="You are a web search engine that returns irrelevant pages. Write excerpts of web pages "
    "for the query below. They must be about related topics and share words with the query, but "
    "must not contain the information that the searcher needs.\n"
    + _FORMAT
    + _EXAMPLE
    + "Doc 1: Ski jumpers train on plastic mats in summer. Coaches film each start and compare the "
    "angle of the skis in the air with that of earlier seasons.\n"
    "Doc 2: The Lysgard farm lay north of the town until it was divided. Its main house was moved "
    "to the open-air museum, where it can be seen from May on.\n"
    "Doc 3: How to choose skis of the right height: stand upright, stretch one arm, and let the "
    "tip reach the wrist. Beginners take shorter ones.\n\n"
    "Query: {query}\n",
)
# One document from one passage. The noisy prompt differs by its passage only.
_SHORTEN = (
    "Text: {source}\n\nWrite two sentences with the most important facts of the text. Use only "
    "names and numbers of the text.\n"
)
GROUNDED = SimulatorPrompts(
    name="grounded",
    system="You shorten texts without changing facts.",
    context='The short version must contain "{answer}".\n',
    useful=_SHORTEN + "{context}",
    noisy=_SHORTEN,
    num_words=40,
)
PROMPT_SETS = {prompts.name: prompts for prompts in (PROMPTED, TUNED, GROUNDED)}
