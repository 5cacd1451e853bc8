"""The paragraph teacher uses only words of the question or of a page."""

import random
import re
from dataclasses import replace

import pytest

from agents.llm.sft.paragraph_teacher import ParagraphTeacher
from tests.paths import SHARED_DATA
from zs_env import Question
from zs_env.actions import Answer, Search
from zs_env.engines import ParagraphEngine
from zs_env.episode import EpisodeConfig, Limits
from zs_env.metrics import contains_answer, normalize_answer
from zs_env.questions import load_questions_file
from zs_env.questions.question import Paragraph

REAL = SHARED_DATA / "passages"

FILM = Paragraph(
    title="Blue Night (film)", text="Blue Night is a film directed by Ada Berg.", is_gold=True
)
DIRECTOR = Paragraph(
    title="Ada Berg", text="Ada Berg (born 4 May 1950 in Lund) is a director.", is_gold=True
)
OTHERS = tuple(
    Paragraph(title=f"Town {i}", text=f"Town {i} is a town with a blue film.", is_gold=False)
    for i in range(6)
)
TWO_HOPS = Question(
    id="q",
    text="Where was the director of Blue Night born?",
    answers=("Lund",),
    paragraphs=(*OTHERS[:3], FILM, DIRECTOR, *OTHERS[3:]),
)


def _demonstrate(question, *, noise=0.0, seed=0, **rules):
    config = EpisodeConfig(**{"max_turns": 4, "num_documents": 1, **rules})
    teacher = ParagraphTeacher(question, random.Random(seed))
    return teacher.play(ParagraphEngine([question]), config=config, noise_probability=noise)


def _actions(transcript):
    return [turn.action for turn in transcript.turns]


def test_the_paragraph_that_the_question_names_is_looked_up_first():
    transcript = _demonstrate(TWO_HOPS)
    first, second, last = _actions(transcript)
    assert first.query.startswith("Blue Night")
    assert second.query.startswith("Ada Berg")
    assert last == Answer("Lund")
    thoughts = [turn.text for turn in transcript.turns]
    assert '<think>Blue Night: "is a film directed by Ada Berg".' in thoughts[1].replace(
        "Blue Night is", "is"
    )
    assert thoughts[2].startswith('<think>Ada Berg: "Ada Berg (born 4 May 1950 in Lund)".</think>')


def test_the_answer_follows_the_first_page_that_contains_it():
    # The engine finds a gold paragraph only if the query shares a word with it.
    director = replace(DIRECTOR, text="Ada Berg (born in Lund) made Blue Night.")
    question = replace(TWO_HOPS, paragraphs=(*OTHERS, FILM, director))
    transcript = _demonstrate(question, num_documents=8)
    assert len(transcript.turns) == 2
    assert transcript.prediction == "Lund"


def test_a_noisy_page_is_followed_by_another_search():
    found = False
    for seed in range(40):
        transcript = _demonstrate(TWO_HOPS, noise=0.5, seed=seed)
        if transcript.prediction is None:
            continue
        for turn, following in zip(transcript.turns, transcript.turns[1:], strict=False):
            if turn.documents and not turn.documents[0].useful:
                found = True
                assert isinstance(following.action, Search)
                assert re.search("does not help|Nothing useful|Not there", following.text)
    assert found


def test_without_a_page_with_the_answer_there_is_no_demonstration():
    assert _demonstrate(TWO_HOPS, noise=1.0).prediction is None
    # "Ada Berg" and its text are cut before the place of birth.
    cut = Limits(max_document_chars=24)
    assert _demonstrate(TWO_HOPS, limits=cut).prediction is None


@pytest.mark.parametrize("answer", ["no", "Ada Berg"])
def test_a_comparison_is_answered_only_when_every_gold_paragraph_was_shown(answer):
    other = Paragraph(title="Bo Ek", text="Bo Ek (born 1960) is a director.", is_gold=True)
    question = Question(
        id="q",
        text="Were Ada Berg and Bo Ek born in one year, or who is older?",
        answers=(answer,),
        paragraphs=(other, *OTHERS, DIRECTOR),
    )
    transcript = _demonstrate(question)
    shown = {document.title for turn in transcript.turns for document in turn.documents}
    assert {"Ada Berg", "Bo Ek"} <= shown
    assert transcript.turns[0].action.query.startswith("Ada Berg")
    assert '"Ada Berg (born 4 May 1950' in transcript.turns[-1].text
    assert '"Bo Ek (born 1960)"' in transcript.turns[-1].text
    assert transcript.prediction == answer


def test_the_same_seed_gives_the_same_demonstration():
    assert _demonstrate(TWO_HOPS, noise=0.3, seed=5) == _demonstrate(TWO_HOPS, noise=0.3, seed=5)


def test_questions_without_gold_paragraphs_are_refused():
    question = Question(id="q7", text="Who?", answers=("x",), paragraphs=OTHERS)
    with pytest.raises(ValueError, match="'q7' has no gold paragraph"):
        _demonstrate(question)


@pytest.mark.parametrize("name", ["hotpotqa", "2wikimultihopqa", "musique"])
def test_on_real_questions_queries_and_quotations_use_words_that_were_read(name):
    path = REAL / f"{name}_distractor.train.jsonl.gz"
    if not path.exists():
        pytest.skip(f"needs real questions with paragraphs in {path}")
    questions = load_questions_file(path)[:100]
    engine, rng = ParagraphEngine(questions), random.Random(0)
    config = EpisodeConfig(max_turns=4, num_documents=3, limits=Limits(max_document_chars=300))
    made = 0
    for question in questions:
        teacher = ParagraphTeacher(question, rng)
        transcript = teacher.play(engine, config=config, noise_probability=0.3)
        if transcript.prediction is None:
            continue
        made += 1
        assert transcript.scores()["f1"] == 1.0
        read = question.text
        for turn in transcript.turns:
            known = set(normalize_answer(re.sub(r"[^\w\s]", " ", read)).split())
            known |= set(normalize_answer(read).split())
            if isinstance(turn.action, Search):
                assert set(normalize_answer(turn.action.query).split()) <= known
            for quotation in re.findall(r': "(.*?)"\.', turn.text):
                assert normalize_answer(quotation) in normalize_answer(read)
            read += turn.message
        if not question.is_yes_no:
            assert contains_answer(read, question.answers)
    assert made >= 40
