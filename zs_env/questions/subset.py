"""A subset of a question data set, selected by ids."""

from __future__ import annotations

from collections.abc import Sequence

from zs_env.questions.question import Question, QuestionDataset


def questions_by_id(questions: QuestionDataset, ids: Sequence[str]) -> list[Question]:
    """Return the questions with the given ids, in the order of the ids.

    Raises:
        ValueError: if an id is repeated or missing.
    """
    if repeated := len(ids) - len(set(ids)):
        raise ValueError(f"{repeated} of {len(ids)} question ids are repeated; list each id once")
    wanted = set(ids)
    found = {
        question.id: question
        for question in (questions[index] for index in range(len(questions)))
        if question.id in wanted
    }
    missing = [one for one in ids if one not in found]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(ids)} ids, such as {missing[0]!r}, are not in the data set of "
            f"{len(questions)} questions; use ids of this data set, or load another one"
        )
    return [found[one] for one in ids]
