"""An engine with a bug of the original: queries are answered for another row's question.

The original collects the queries of the rows that search, but takes question and gold answers by
position from all rows of the batch. Request i of a call therefore gets the question of row i of
the step. This is correct while every row searches, and wrong for all rows after the first that does
not.

The cost depends on the use that an engine makes of the question. A world's engine uses the query
alone, and the answers only to exclude them from noisy pages: the lower bound of the cost. The
paper's simulator depends on the given answer; with `leak_answer`, useful documents about a name in
the query contain the other row's answer. This is the upper bound, since a language model has
knowledge of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.baselines.world_oracle import read_statements
from agents.llm.rollout.question_order import question_indices
from zs_env.config import Spec, build_engine
from zs_env.questions.question import Question, QuestionDataset
from zs_env.search.engine import Answer, EngineWrapper, SearchEngine, search_checked
from zs_env.search.types import Document, SearchError, SearchPage, SearchRequest


class MispairedEngine(EngineWrapper):
    """Replaces the question of each request by that of the row at the request's position.

    Args:
        engine: the wrapped engine.
        questions: of the training run.
        seed: of the run; it determines the questions of each step.
        questions_per_step: of the run.
        group_size: of the run; the rows of a group are adjacent.
        leak_answer: whether useful documents contain the answer of the row whose question is used;
            needs sentences of a fictional world.
    """

    def __init__(
        self,
        engine: SearchEngine,
        questions: QuestionDataset,
        *,
        seed: int,
        questions_per_step: int,
        group_size: int,
        leak_answer: bool = False,
    ) -> None:
        super().__init__(engine)
        self.step_dependent = True
        self._questions = questions
        self._seed = seed
        self._questions_per_step = questions_per_step
        self._group_size = group_size
        self._leak_answer = leak_answer
        self._rows: list[Question] = []

    def set_training_step(self, step: int) -> None:
        """Set the questions of all rows of a step."""
        indices = question_indices(
            step * self._questions_per_step,
            self._questions_per_step,
            num_questions=len(self._questions),
            seed=self._seed,
        )
        self._rows = [self._questions[index] for index in indices for _ in range(self._group_size)]
        super().set_training_step(step)

    def search(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Answer each request as if it came from the row at its position.

        All requests fail if there are more of them than rows.
        """
        if len(requests) > len(self._rows):
            # Not raised: alone, a request would have another position.
            error = SearchError(
                f"{len(requests)} requests in a step of {len(self._rows)} rows; expected one call "
                "for all searches of a turn, after set_training_step()"
            )
            return [error] * len(requests)
        rows = self._rows[: len(requests)]
        mispaired = [
            replace(request, question=row.text, answers=row.answers)
            for request, row in zip(requests, rows, strict=True)
        ]
        pages = search_checked(self.engines[0], mispaired)
        if not self._leak_answer:
            return pages
        return [
            page
            if isinstance(page, SearchError) or own.question == row.text
            else _insert_answer(page, own, row)
            for page, own, row in zip(pages, requests, rows, strict=True)
        ]


def mispaired_engine(
    questions: QuestionDataset,
    *,
    engine: Spec,
    seed: int,
    questions_per_step: int,
    group_size: int,
    leak_answer: bool = False,
) -> SearchEngine:
    """Build the engine from its spec, as a row of `zs_env.config.ENGINE_KINDS`."""
    return MispairedEngine(
        build_engine(engine, questions),
        questions,
        seed=seed,
        questions_per_step=questions_per_step,
        group_size=group_size,
        leak_answer=leak_answer,
    )


def _insert_answer(page: SearchPage, request: SearchRequest, row: Question) -> SearchPage:
    """Put the row's answer into the useful documents that mention a name of the query."""
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
