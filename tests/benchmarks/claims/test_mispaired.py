"""The original's bug: the i-th request of a call is answered for the i-th row of the step."""

from collections.abc import Sequence

from benchmarks.claims.mispaired import MispairedEngine, mispaired_engine
from zs_env import Question
from zs_env.search.types import Document, SearchPage, SearchRequest
from zs_env.world import World, WorldQuestions

QUESTIONS = [Question(id=str(n), text=f"q{n}?", answers=(f"a{n}",)) for n in range(6)]


class _Recorder:
    """Returns one useful and one noisy sentence, and records its requests."""

    in_process = True

    def __init__(self) -> None:
        self.asked: list[SearchRequest] = []

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchPage]:
        self.asked = list(requests)
        sentence = "The mayor of Anor Bel is Cor Dun."
        documents = (Document(sentence, useful=True), Document(sentence, useful=False))
        return [SearchPage(documents) for _ in requests]


def _request(question: str, query: str = "mayor of Anor Bel") -> SearchRequest:
    return SearchRequest(query, question, ("own",), (True, False), 1)


def _engine(leak_answer: bool = False) -> tuple[MispairedEngine, _Recorder]:
    recorder = _Recorder()
    engine = MispairedEngine(
        recorder, QUESTIONS, seed=0, questions_per_step=3, group_size=2, leak_answer=leak_answer
    )
    engine.set_training_step(0)
    return engine, recorder


def _rows(engine: MispairedEngine, recorder: _Recorder, count: int) -> list[str | None]:
    engine.search([_request("?")] * count)
    return [request.question for request in recorder.asked]


def test_questions_are_right_if_every_row_searches():
    engine, recorder = _engine()
    whole = _rows(engine, recorder, 6)
    # Three questions of the six, the two rows of each side by side.
    assert whole[0::2] == whole[1::2]
    assert len(set(whole)) == 3
    assert {request.answers for request in recorder.asked} == {
        (question.replace("q", "a").rstrip("?"),) for question in filter(None, whole)
    }


def test_questions_are_wrong_after_a_row_that_does_not_search():
    engine, recorder = _engine()
    whole = _rows(engine, recorder, 6)
    # Rows 0 and 1 have ended: rows 2 to 5 search and get the questions of rows 0 to 3.
    engine.search([_request(str(text)) for text in whole[2:]])
    assert [request.question for request in recorder.asked] == whole[:4]
    assert {request.query for request in recorder.asked} == {"mayor of Anor Bel"}


def test_each_step_has_its_own_rows():
    engine, recorder = _engine()
    first = _rows(engine, recorder, 6)
    engine.set_training_step(1)
    second = _rows(engine, recorder, 6)
    assert set(first) | set(second) == {question.text for question in QUESTIONS}


def test_useful_pages_contain_the_wrong_answer_if_asked():
    engine, recorder = _engine(leak_answer=True)
    first = str(_rows(engine, recorder, 1)[0])
    answer = first.replace("q", "a").rstrip("?")
    own, wrong = engine.search([_request(first), _request("another?")])
    assert [document.text for document in own.documents] == [
        "The mayor of Anor Bel is Cor Dun."
    ] * 2
    assert wrong.documents[0].text == f"The mayor of Anor Bel is {answer}."
    assert wrong.documents[1].text == "The mayor of Anor Bel is Cor Dun."
    (aside,) = engine.search([_request("another?", query="river of Eor Fel")])
    assert aside.documents[0].text == "The mayor of Anor Bel is Cor Dun."


def test_more_requests_than_rows_are_an_error():
    engine, _ = _engine()
    failures = engine.search([_request("?")] * 7)
    assert len(failures) == 7
    assert all("7 requests in a step of 6 rows" in str(failure) for failure in failures)


def test_a_spec_builds_it_over_a_world():
    questions = WorldQuestions(World(0))
    engine = mispaired_engine(
        questions, engine={"kind": "world"}, seed=0, questions_per_step=1, group_size=1
    )
    assert engine.in_process and engine.step_dependent  # type: ignore[attr-defined]
    engine.set_training_step(0)  # type: ignore[attr-defined]
    page = engine.search([SearchRequest("mayor", None, None, (True,) * 5, 3)])[0]
    assert isinstance(page, SearchPage) and len(page.documents) == 5
