"""A part of a question set, named by its ids."""

from __future__ import annotations

from collections.abc import Sequence

from zs_env.questions.question import Question, QuestionDataset


def questions_by_id(questions: QuestionDataset, ids: Sequence[str]) -> list[Question]:
    """Return the questions of the given ids, in the order of the ids.

    Raises:
        ValueError: if an id is named twice, or no question has it.
    """
    if repeated := len(ids) - len(set(ids)):
        raise ValueError(f"{repeated} of {len(ids)} question ids are named twice; name each once")
    wanted = set(ids)
    found = {
        question.id: question
        for question in (questions[index] for index in range(len(questions)))
        if question.id in wanted
    }
    missing = [one for one in ids if one not in found]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(ids)} questions are not in the set, such as {missing[0]!r}; "
            f"it holds {len(questions)}: take the ids from this set, or load the set they are of"
        )
    return [found[one] for one in ids]
