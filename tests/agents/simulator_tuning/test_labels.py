"""Labels of the three judges, computed by hand."""

from dataclasses import replace

import pytest

from agents.simulator_tuning.labels import agreement, label_transcripts
from zs_env.actions import Answer, Search
from zs_env.questions.question import Question
from zs_env.search.types import Document, SearchRequest
from zs_env.simulator import ScriptedTextGenerator
from zs_env.simulator.generators.base import GenerationError, PromptRejected
from zs_env.transcripts.transcript import Transcript, Turn


def transcript(answer="Ada Lovelace", answers=("Ada Lovelace",), texts=("by Ada Lovelace", "no")):
    question = Question(id="7", text="Who wrote it?", answers=answers, source="set")
    request = SearchRequest("wrote it", question.text, answers, (True,) * len(texts), 1)
    documents = tuple(Document(text, f"T{n}") for n, text in enumerate(texts))
    turns = (
        Turn("", Search("wrote it"), request, documents, "page"),
        Turn("", Answer(answer)),
    )
    return Transcript(question=question, prompt="", turns=turns, reason="answer")


def test_containment_labels_each_document_and_outcome_the_episode():
    (page,) = label_transcripts([transcript()])
    assert page.labels == {"containment": (True, False), "outcome": (True, True)}
    assert (page.question_id, page.source, page.query) == ("7", "set", "wrote it")
    assert page.documents == (("T0", "by Ada Lovelace"), ("T1", "no"))
    (page,) = label_transcripts([transcript(answer="Eve")])
    assert page.labels["outcome"] == (False, False)


def test_the_title_is_part_of_the_document():
    (page,) = label_transcripts([transcript(answers=("T1",))])
    assert page.labels["containment"] == (False, True)


@pytest.mark.parametrize("answers", [("yes",), ("No",)])
def test_yes_no_questions_are_skipped(answers):
    assert list(label_transcripts([transcript(answers=answers)])) == []


def test_comparisons_are_skipped():
    compared = transcript(answers=("Ada Lovelace",))
    text = "Who was it, Ada Lovelace or Eve?"
    compared = replace(compared, question=replace(compared.question, text=text))
    assert list(label_transcripts([compared])) == []


def test_the_model_gets_each_document_with_query_and_answers():
    seen = []

    def script(prompt):
        seen.append(prompt.text)
        return "Yes, it does." if "by Ada" in prompt.text else "yesterday"

    (page,) = label_transcripts([transcript()], ScriptedTextGenerator(script))
    assert page.labels["model"] == (True, False)
    assert len(seen) == 2
    for words in ("wrote it", "T0. by Ada Lovelace", "Who wrote it?", "Ada Lovelace"):
        assert words in seen[0]


def test_a_rejected_prompt_is_labeled_noisy():
    def script(prompt):
        return PromptRejected("too long") if "by Ada" in prompt.text else "yes"

    (page,) = label_transcripts([transcript()], ScriptedTextGenerator(script))
    assert page.labels["model"] == (False, True)


def test_a_failing_judge_stops_the_stage():
    pages = label_transcripts(
        [transcript()], ScriptedTextGenerator(lambda prompt: GenerationError("down"))
    )
    with pytest.raises(ConnectionError, match="down; check that it runs"):
        next(iter(pages))


def test_the_judges_thinking_is_ignored():
    replies = iter(["<think>No? But then</think>\n\nYes.", "<think>yes</think> no"])
    (page,) = label_transcripts([transcript()], ScriptedTextGenerator(lambda prompt: next(replies)))
    assert page.labels["model"] == (True, False)


def test_every_page_gets_its_own_labels():
    transcripts = [transcript(texts=(f"doc {n}", f"other {n}")) for n in range(150)]
    generator = ScriptedTextGenerator(
        lambda prompt: "yes" if "doc" in prompt.text[60:120] else "no"
    )
    pages = list(label_transcripts(transcripts, generator))
    assert [page.documents[0][1] for page in pages] == [f"doc {n}" for n in range(150)]
    assert all(page.labels["model"] == (True, False) for page in pages)


def test_agreement_by_hand():
    # containment: 1 0 1 0, outcome: 1 1 0 0 over four documents: half agree, kappa 0.
    pages = list(label_transcripts([transcript(), transcript(answer="Eve")]))
    assert agreement(pages) == {
        "containment and outcome": {"agreement": 0.5, "kappa": 0.0, "documents": 4}
    }
    assert agreement([]) == {}
