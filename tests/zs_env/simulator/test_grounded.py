"""A grounded simulator writes each document from one retrieved passage, and checks it."""

import pytest

from zs_env.config import build_engine
from zs_env.engines import BM25Engine, ScriptedEngine
from zs_env.questions.question import Question
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest
from zs_env.simulator import LanguageModelEngine, ScriptedTextGenerator, SimulatorPrompts
from zs_env.simulator.generators.base import TextGenerator

PROMPTS = SimulatorPrompts(
    name="test", useful="{source}|{context}", noisy="{source}|", context="{answer}", num_words=8
)
PASSAGES = [
    {"id": "a", "title": "Oslo", "text": "The capital of Norway has a harbour."},
    {"id": "b", "title": "Bergen", "text": "The old capital of the west has rain."},
    {"id": "c", "title": "Norse law", "text": "The capital of Norway was moved."},
    {"id": "d", "title": "Letters", "text": "A capital is a large letter."},
]


class Rewriter(TextGenerator):
    """Repeats the passage, or writes what `script` returns for the attempt on a passage."""

    in_process, fingerprint = True, "rewriter"

    def __init__(self, script=None):
        self.prompts, self.attempts = [], {}
        self.script = script or (lambda passage, attempt: passage)

    def generate(self, prompts):
        return ScriptedTextGenerator(self._write).generate(prompts)

    def _write(self, prompt):
        self.prompts.append(prompt)
        passage = prompt.text.split("|")[0]
        self.attempts[passage] = self.attempts.get(passage, -1) + 1
        return self.script(passage, self.attempts[passage])


def bm25():
    return BM25Engine.from_passages(PASSAGES)


def request(*useful, query="capital Norway", answers=("Norway",)):
    return SearchRequest(query, "Which country?", answers, useful, 7)


def search(generator, sources, *requests, **settings):
    engine = LanguageModelEngine(generator, PROMPTS, sources=sources, **settings)
    return engine.search(list(requests))


def provenance(document):
    return dict(document.metadata)


def test_each_document_is_written_from_one_passage_and_names_it():
    generator = Rewriter()
    (page,) = search(generator, bm25(), request(True, True))
    assert sorted(prompt.text for prompt in generator.prompts) == [
        "Norse law: The capital of Norway was moved.|Norway",
        "Oslo: The capital of Norway has a harbour.|Norway",
    ]
    assert {provenance(one)["source_id"] for one in page.documents} == {"a", "c"}
    for document in page.documents:
        known = provenance(document)
        assert document.text.startswith(known["source_title"]) and known["support"] == 1.0
        assert document.useful is True and document.checks == ()


def test_noisy_documents_are_written_from_passages_without_an_answer():
    generator = Rewriter()
    (page,) = search(generator, bm25(), request(True, False, False))
    assert [one.useful for one in page.documents] == [True, False, False]
    assert {provenance(one)["source_id"] for one in page.documents[1:]} == {"b", "d"}
    assert all("Norway" not in one.text and not one.checks for one in page.documents[1:])
    assert [prompt.text.split("|")[1] for prompt in generator.prompts] == ["Norway", "", ""]


def test_passages_that_mention_an_answer_beside_punctuation_are_no_sources_of_noise():
    mentions = [
        {"id": "e", "title": "Harbour", "text": "Norway's capital has a harbour."},
        {"id": "f", "title": "Song", "text": "A capital song is \u201cNorway\u201d."},
    ]
    sources = BM25Engine.from_passages([*mentions, *PASSAGES])
    (page,) = search(Rewriter(), sources, request(False, True, False))
    ids = [provenance(one)["source_id"] for one in page.documents]
    assert ids[1] in {"a", "c"} and {ids[0], ids[2]} == {"b", "d"}


def test_noise_of_a_comparison_does_not_avoid_passages_that_name_the_answer():
    asked = SearchRequest("capital", "Is Norway or the west older?", ("Norway",), (False,) * 2, 7)
    (page,) = search(Rewriter(), bm25(), asked)
    # As for a yes/no question, noise comes from behind the passages of a useful page.
    ranked = bm25().search([SearchRequest("capital", None, None, (True,) * 4, 0)])[0].documents
    behind = [dict(one.metadata)["passage_id"] for one in ranked[2:]]
    assert [provenance(one)["source_id"] for one in page.documents] == behind
    assert {"a", "c"} & set(behind) and not any(one.checks for one in page.documents)


def test_yes_no_questions_take_noisy_passages_from_behind_the_first_page():
    (useful,) = search(Rewriter(), bm25(), request(True, True, answers=("yes",)))
    (noisy,) = search(Rewriter(), bm25(), request(False, False, answers=("yes",)))
    ids = [[provenance(one)["source_id"] for one in page.documents] for page in (useful, noisy)]
    assert set(ids[0]) == {"a", "c"} and set(ids[1]) == {"b", "d"}


def test_an_engine_with_noise_decides_which_passages_are_useful_and_noisy():
    def script(asked):
        return [Document("Rain in Norway.", useful=True), Document("Sun in Peru.", useful=False)]

    sources = ScriptedEngine(script, supports_noise=True)
    (page,) = search(Rewriter(), sources, request(True, True))
    # The engine delivered another quality than the requested one, and so does the simulator.
    assert [(one.text, one.useful, one.noise_kind) for one in page.documents] == [
        ("Rain in Norway.", True, None),
        ("Sun in Peru.", False, "irrelevant"),
    ]


def test_a_query_that_retrieves_nothing_has_an_empty_page_without_a_call():
    generator = Rewriter()
    empty, page = search(generator, bm25(), request(True, query="zebra"), request(True))
    assert empty.documents == () and len(page.documents) == 1
    assert len(generator.prompts) == 1


def test_an_unsupported_document_is_written_again_with_another_seed():
    def script(passage, attempt):
        return f"{passage} It lies in Peru near Lima, Cuzco and Puno." if attempt < 2 else passage

    generator = Rewriter(script)
    (page,) = search(generator, bm25(), request(True), retries=2)
    assert page.documents[0].checks == () and provenance(page.documents[0])["support"] == 1.0
    assert len({prompt.seed for prompt in generator.prompts}) == 3
    (page,) = search(Rewriter(script), bm25(), request(True), retries=1)
    # Norway is supported; Peru, Lima, Cuzco and Puno are not. A lone first word does not count.
    assert page.documents[0].checks == ("unsupported",)
    assert provenance(page.documents[0])["support"] == 0.2


def test_a_document_that_loses_the_answer_of_its_source_is_written_again():
    generator = Rewriter(
        lambda passage, attempt: "A town that has a harbour." if not attempt else passage
    )
    (page,) = search(generator, bm25(), request(True))
    assert "Norway" in page.documents[0].text and len(generator.prompts) == 2
    # The passage about the west has no answer to lose.
    west = request(True, query="west rain")
    (page,) = search(Rewriter(lambda *_: "A town with a lot of rain."), bm25(), west, retries=0)
    assert provenance(page.documents[0])["source_id"] == "b"


def test_a_useful_page_without_an_answer_says_so():
    west = request(True, query="west rain")
    generator = Rewriter()
    (page,) = search(generator, bm25(), west)
    assert page.documents[0].checks == ("no_answer",)
    assert len(generator.prompts) == 1, "another text of the same passage has no answer either"


def test_the_answer_is_requested_only_from_a_passage_that_has_it():
    generator = Rewriter()
    search(generator, bm25(), request(True, True, True), retries=0)
    asked = {prompt.text.split(":")[0]: prompt.text.split("|")[1] for prompt in generator.prompts}
    assert asked["Oslo"] == asked["Norse law"] == "Norway"
    assert asked.get("Bergen", "") == asked.get("Letters", "") == ""


@pytest.mark.parametrize("useful", [True, False])
def test_a_prompt_does_not_reveal_the_answer_of_a_yes_no_question(useful):
    sources = BM25Engine.from_passages(
        [{"title": "Oslo", "text": "Yes, the capital of Norway has no equal."}]
    )
    flags = (useful, not useful)  # of the only passage, and of a place that stays empty
    asked = []
    for answers in (("yes",), ("no",), ("Yes", "no")):
        generator = Rewriter()
        search(generator, sources, request(*flags, answers=answers), retries=0)
        asked.append([(prompt.text, prompt.seed) for prompt in generator.prompts])
    assert asked[0] == asked[1] == asked[2]
    assert {text for text, _ in asked[0]} == {"Oslo: Yes, the capital of Norway has no equal.|"}


def test_an_announcement_and_a_mark_are_not_part_of_the_document():
    generator = Rewriter(lambda passage, attempt: f"Here is the text:\n\n**Doc 1:** {passage}\n")
    (page,) = search(generator, bm25(), request(True))
    assert page.documents[0].text in {f"{one['title']}: {one['text']}" for one in PASSAGES}


class Broken(SearchEngine):
    thread_safe = True

    def search(self, requests):
        return [
            SearchError("gone") if one.query == "bad" else SearchPage([Document("Norway here.")])
            for one in requests
        ]


def test_a_failure_of_the_sources_fails_only_its_request():
    failed, page = search(Rewriter(), Broken(), request(True, query="bad"), request(True))
    assert isinstance(failed, SearchError) and "gone" in str(failed)
    assert [one.text for one in page.documents] == ["Norway here."]


def test_the_cost_of_the_sources_is_added():
    sources = ScriptedEngine(lambda _: SearchPage([Document("x")], SearchCost(calls=5)))
    (page,) = search(Rewriter(), sources, request(True), retries=0)
    assert page.cost.calls == 6


class Declared(SearchEngine):
    in_process, timeout_s, fingerprint, step_dependent = True, 3.0, "declared", True

    def __init__(self):
        self.step, self.closed = None, False

    def set_training_step(self, step):
        self.step = step

    def close(self):
        self.closed = True


def test_declarations_are_combined():
    sources, generator = Declared(), Rewriter()
    generator.deadline_s, generator.thread_safe = 4.0, True
    engine = LanguageModelEngine(generator, PROMPTS, sources=sources)
    assert (engine.timeout_s, engine.in_process, engine.thread_safe) == (7.0, True, True)
    assert engine.step_dependent and engine.supports_noise and not engine.query_only
    other = LanguageModelEngine(generator, PROMPTS, sources=bm25())
    assert engine.fingerprint != other.fingerprint
    engine.set_training_step(3)
    engine.close()
    assert sources.step == 3 and sources.closed
    sources.fingerprint, sources.in_process = None, False
    engine = LanguageModelEngine(Rewriter(), PROMPTS, sources=sources)
    assert (engine.fingerprint, engine.in_process, engine.timeout_s) == (None, False, 3.0)


def test_prompts_and_sources_belong_together():
    with pytest.raises(ValueError, match="`sources` is missing"):
        LanguageModelEngine(Rewriter(), "grounded")
    with pytest.raises(ValueError, match="leave `sources` out"):
        LanguageModelEngine(Rewriter(), "prompted", sources=bm25())


def test_a_spec_has_the_spec_of_its_sources(tmp_path):
    path = tmp_path / "passages.jsonl"
    path.write_text('{"id": "a", "text": "The capital of Norway."}\n', "utf-8")
    spec = {
        "kind": "simulator",
        "prompts": "grounded",
        "sources": {"kind": "bm25", "passages": str(path)},
        "generator": Rewriter(),
    }
    engine = build_engine(spec, [Question(id="1", text="Which country?", answers=("Norway",))])
    (page,) = engine.search([request(True, query="capital")])
    assert dict(page.documents[0].metadata)["source_id"] == "a"
