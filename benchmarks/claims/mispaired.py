"""The original's worst bug as an engine: queries are answered for another row's question.

In ZeroSearch's code the queries of the rows that search are put together, but question and gold
answers are then taken by place from all rows of the batch. So of the requests of one call, the
i-th gets those of the i-th episode of the whole step: right as long as every row searches, wrong
for all rows behind the first one that does not.

What that costs depends on how much an engine makes of the question it is told. A world's engine
reads the query alone, and looks at the answers only to keep them off noisy pages: that is the least
it can cost. The paper's simulator knows little more than the answer that it is told; with `told`,
useful documents about what a query names say that it is the answer of the other row. It is the most
that it can cost, for a language model also knows something by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.baselines.world_reader import read_statements
from agents.llm.rollout.question_order import question_indices
from zs_env.config import Spec, build_engine
from zs_env.questions.question import Question, QuestionDataset
from zs_env.search.engine import EngineWrapper, SearchEngine
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest


class MispairedEngine(EngineWrapper):
    """Takes the question of a request from the place that the request has in its call.

    Args:
        engine: that answers.
        questions: that the run trains on.
        seed: of the run, which decides the questions of each step.
        questions_per_step: of the run.
        group_size: of the run; the rows of a group are next to each other.
        told: whether useful documents tell the answers of the row that they are taken for; only
            sentences of a fictional world can be changed so.
    """

    def __init__(
        self,
        engine: SearchEngine,
        questions: QuestionDataset,
        *,
        seed: int,
        questions_per_step: int,
        group_size: int,
        told: bool = False,
    ) -> None:
        super().__init__(engine)
        self.step_dependent = True
        self._questions = questions
        self._seed = seed
        self._questions_per_step = questions_per_step
        self._group_size = group_size
        self._told = told
        self._rows: list[Question] = []

    def set_training_step(self, step: int) -> None:
        """Lay out the questions of all rows of a step."""
        asked = question_indices(
            step * self._questions_per_step,
            self._questions_per_step,
            num_questions=len(self._questions),
            seed=self._seed,
        )
        self._rows = [self._questions[index] for index in asked for _ in range(self._group_size)]
        super().set_training_step(step)

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage | SearchError]:
        """Answer each request as if it came from the row at its place.

        Raises:
            RuntimeError: where there are more requests than rows.
        """
        if len(requests) > len(self._rows):
            raise RuntimeError(
                f"{len(requests)} requests in a step of {len(self._rows)} rows; expected one call "
                "for all searches of a turn, after set_training_step()"
            )
        rows = self._rows[: len(requests)]
        mispaired = [
            replace(request, question=row.text, answers=row.answers)
            for request, row in zip(requests, rows, strict=True)
        ]
        pages = list(self.engines[0].search(mispaired))
        if not self._told:
            return pages
        return [
            page
            if isinstance(page, SearchError) or own.question == row.text
            else _tell(page, own, row)
            for page, own, row in zip(pages, requests, rows, strict=True)
        ]


def mispaired_engine(
    questions: QuestionDataset,
    *,
    engine: Spec,
    seed: int,
    questions_per_step: int,
    group_size: int,
    told: bool = False,
) -> SearchEngine:
    """Build the engine from its spec: a row for `zs_env.config.ENGINE_KINDS`."""
    return MispairedEngine(
        build_engine(engine, questions),
        questions,
        seed=seed,
        questions_per_step=questions_per_step,
        group_size=group_size,
        told=told,
    )


def _tell(page: SearchPage, request: SearchRequest, row: Question) -> SearchPage:
    """The page with the row's answer wherever a useful document speaks of what was searched for."""
    documents = [
        _with_answer(document, request.query.lower(), row.answers[0])
        if document.useful
        else document
        for document in page.documents
    ]
    return replace(page, documents=tuple(documents))


def _with_answer(document: Document, query: str, answer: str) -> Document:
    text = document.text
    for statement in read_statements(text):
        unnamed = [
            name for name in (statement.subject, statement.object) if name.lower() not in query
        ]
        if len(unnamed) == 1:
            text = text.replace(unnamed[0], answer)
    return replace(document, text=text)
