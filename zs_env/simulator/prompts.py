"""How a language model is asked for a page: two prompts, one for useful pages, one for noisy ones.

A prompt is a template in `str.format` syntax with these variables:

    query          what the agent asked
    question       the question behind the query
    answer         the first gold answer
    answers        all gold answers, joined by " / "
    few_answers    three of them at the most, those made of plain words first
    kind           "useful" or "noisy"
    num_documents  how many documents to write
    num_words      about how many words each
    date           today's date as configured, or ""
    context        `SimulatorPrompts.context`, filled in; "" where nobody knows the question

Values are put in as they are: braces in a query mean nothing.
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
    "kind",
    "num_documents",
    "num_words",
    "date",
    "context",
)
# What is not known of a request that brings a query alone.
_OF_THE_QUESTION = ("question", "answer", "answers", "few_answers")
_FEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorPrompts:
    """Templates of the prompts.

    Attributes:
        name: shown as provenance.
        useful: template for a page of useful documents.
        noisy: template for a page of noisy ones.
        context: what `{context}` stands for in them where question and answers are known.
        system: the system message; None sends none, "" an empty one.
        num_words: about how long a document should be.
        date: what `{date}` stands for.
        shuffled: whether documents are shown in an order that the request's seed decides; for
            models that were tuned on pages whose answers come first, so that place tells nothing.

    Raises:
        ValueError: if a template has a variable that does not exist, or one of the question
            outside `context` while `context` is used, naming what would do.
    """

    name: str
    useful: str
    noisy: str
    context: str = ""
    system: str | None = None
    num_words: int = 30
    date: str = ""
    shuffled: bool = False

    def __post_init__(self) -> None:
        for field in ("useful", "noisy", "context"):
            for variable in _variables(getattr(self, field), field):
                if variable not in VARIABLES or (variable, field) == ("context", "context"):
                    raise unknown_name(f"variable of the template {field!r}", variable, VARIABLES)
        if self.num_words < 1:
            raise ValueError(f"num_words must be at least 1, got {self.num_words}")

    @property
    def fingerprint(self) -> str:
        """All that changes a prompt."""
        return repr(self)

    def prompt(self, request: SearchRequest, *, useful: bool, num_documents: int) -> str:
        """Fill in a template.

        Raises:
            ValueError: if it names the question or its answers and the request knows neither.
        """
        template = self.useful if useful else self.noisy
        values = {
            "query": request.query,
            "kind": "useful" if useful else "noisy",
            "num_documents": str(num_documents),
            "num_words": str(self.num_words),
            "date": self.date,
            "context": "",
        }
        if request.question is not None and request.answers:
            values["question"] = request.question
            values["answer"] = request.answers[0]
            values["answers"] = " / ".join(request.answers)
            values["few_answers"] = " / ".join(sorted(request.answers, key=_is_odd)[:_FEW])
            values["context"] = self.context.format_map(values)
        elif missing := [name for name in _variables(template) if name in _OF_THE_QUESTION]:
            raise ValueError(
                f"the template of prompts {self.name!r} needs {missing}, and the query "
                f"{request.query!r} came without its question; put that sentence into `context`, "
                "which is left out where nobody knows the question"
            )
        return template.format_map(values)


def _is_odd(answer: str) -> bool:
    """Whether it has signs that stand in no sentence, as in "Annie (disambiguation)"."""
    return not all(sign.isalnum() or sign in " '-.,&" for sign in answer)


def _variables(template: str, field: str = "") -> list[str]:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"template {field!r}: {error}; write {{{{ for a brace") from None
    return [name for _, name, _, _ in parsed if name is not None]


# For models that were tuned to it: the word useful or noisy decides, the form is the answer's. What
# is to be said stands last, where a small model copies best, and only where it is to be said.
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

_FORM = (
    "Write {num_documents} documents of about {num_words} words each, one per line, every line "
    'beginning with "Doc", its number and a colon. Write nothing else.\n\n'
)
# For any instruct model. A noisy page is asked for without the answer in sight: a small model that
# sees it writes it down, whatever it is told.
PROMPTED = SimulatorPrompts(
    name="prompted",
    context="The searcher wants to know: {question}\nThe truth is: {answers}\n",
    useful="You stand in for a web search engine. For the query below, write excerpts of web pages "
    "from which a reader can learn the answer; say it in plain words in at least one of them.\n"
    + _FORM
    + "For example, three documents for the query: height of the Lysgard ski jump\n"
    "Doc 1: Lysgardsbakken in Lillehammer was built for the 1994 Games. The larger of its two "
    "hills is 138 metres long and a chairlift takes visitors to the top of it.\n"
    "Doc 2: The stadium below the jump holds some 35,000 spectators and is used for concerts in "
    "summer; the stairs beside the hill count 936 steps.\n"
    "Doc 3: Visitors may climb the tower of the hill, from where one sees lake Mjosa, the town "
    "and the valley. Tickets are sold at the foot of the lift.\n\n"
    "{context}Query: {query}\n",
    noisy="You stand in for a web search engine that found the wrong pages. For the query below, "
    "write excerpts of web pages on neighbouring subjects: they share words with the query, and a "
    "reader cannot learn from them what was asked.\n"
    + _FORM
    + "For example, three documents for the query: height of the Lysgard ski jump\n"
    "Doc 1: Ski jumpers train on plastic mats in summer. Coaches film each start and compare the "
    "angle of the skis in the air with that of earlier seasons.\n"
    "Doc 2: The Lysgard farm lay north of the town until it was divided. Its main house was moved "
    "to the open-air museum, where it can be seen from May on.\n"
    "Doc 3: How to choose skis of the right height: stand upright, stretch one arm, and let the "
    "tip reach the wrist. Beginners take shorter ones.\n\n"
    "Query: {query}\n",
)
PROMPT_SETS = {prompts.name: prompts for prompts in (PROMPTED, TUNED)}
