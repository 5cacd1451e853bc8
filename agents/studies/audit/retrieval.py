"""Whether the passages that an engine finds for a question contain a gold answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zs_env.metrics import contains_answer, normalize_answer
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchError, SearchRequest

_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What the searches for a question and for the titles of its gold documents found.

    Attributes:
        rank: of the first document with a gold answer in the search for the question, from 1; None
            without one, and for yes/no questions.
        title_rank: the best such rank in the searches for the gold titles.
        titles: number of distinct titles of gold documents that the data set names.
        titles_found: number of them under which a search for the title finds a document.
        is_yes_no: whether every gold answer is yes or no, or there is none.
    """

    rank: int | None = None
    title_rank: int | None = None
    titles: int = 0
    titles_found: int = 0
    is_yes_no: bool = False

    @property
    def answerable(self) -> bool | None:
        """Whether a search finds a gold answer, or for yes/no questions all gold documents.

        None for yes/no questions whose data set names no gold documents.
        """
        if self.is_yes_no:
            return self.titles_found == self.titles if self.titles else None
        return self.rank is not None or self.title_rank is not None


def gold_titles(question: Question) -> tuple[str, ...]:
    """Return the distinct titles of the question's gold paragraphs.

    Without paragraphs, they are the names of its gold documents, some of which may be passage ids.
    """
    names = [one.title for one in question.paragraphs if one.is_gold]
    if not question.paragraphs:
        names = list(question.gold_documents)
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def retrieve_all(
    questions: Sequence[Question],
    engine: SearchEngine,
    *,
    top_k: int,
    on_progress: Callable[[int], object] = lambda done: None,
) -> list[Retrieval]:
    """Search for each question and its gold titles, and look for gold answers in the documents.

    Args:
        questions: of one set.
        engine: a real one; its pages may depend on the query only. Names of gold documents that
            are ids of its `passages`, if it has them, are no titles.
        top_k: documents of a page, at least 1.
        on_progress: called after each batch with the number of questions done.

    Raises:
        SearchError: if a search fails.
    """
    ids = _passage_ids(questions, engine)
    found: list[Retrieval] = []
    for start in range(0, len(questions), _BATCH_SIZE):
        batch = questions[start : start + _BATCH_SIZE]
        titles = [gold_titles(question) for question in batch]
        queries = list(
            dict.fromkeys([*(one.text for one in batch), *(t for some in titles for t in some)])
        )
        pages = dict(zip(queries, _search(engine, queries, top_k), strict=True))
        for question, its_titles in zip(batch, titles, strict=True):
            by_title = {title: pages[title] for title in its_titles}
            found.append(_look_for(question, pages[question.text], by_title, ids))
        on_progress(len(found))
    return found


def _passage_ids(questions: Sequence[Question], engine: SearchEngine) -> frozenset[str]:
    """Return the gold names of questions without paragraphs that are ids of the passages."""
    names = {name for one in questions if not one.paragraphs for name in gold_titles(one)}
    passages = getattr(engine, "passages", ()) if names else ()
    return frozenset(passage.id for passage in passages if passage.id in names)


def _search(engine: SearchEngine, queries: Sequence[str], top_k: int) -> list[tuple[Document, ...]]:
    requests = [SearchRequest(query, None, None, (True,) * top_k, 0) for query in queries]
    pages = []
    for page in engine.search(requests):
        if isinstance(page, SearchError):
            raise page
        pages.append(page.documents[:top_k])
    return pages


def _look_for(
    question: Question,
    page: Sequence[Document],
    by_title: dict[str, tuple[Document, ...]],
    ids: frozenset[str],
) -> Retrieval:
    is_yes_no, answers = question.is_yes_no, question.answers
    is_found = {
        title: normalize_answer(title) in {normalize_answer(one.title) for one in documents}
        for title, documents in by_title.items()
    }
    # A name may be the title of one passage and the id of another.
    titles = [title for title, found in is_found.items() if found or title not in ids]
    ranks = [] if is_yes_no else [_rank(answers, by_title[title]) for title in titles]
    return Retrieval(
        rank=None if is_yes_no else _rank(answers, page),
        title_rank=min((rank for rank in ranks if rank is not None), default=None),
        titles=len(titles),
        titles_found=sum(is_found.values()),
        is_yes_no=is_yes_no,
    )


def _rank(answers: tuple[str, ...], documents: Sequence[Document]) -> int | None:
    for number, document in enumerate(documents, start=1):
        if contains_answer(f"{document.title} {document.text}", answers):
            return number
    return None
