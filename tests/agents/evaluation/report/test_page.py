"""The report in headless Chromium: it draws, filters, scrolls, and never runs embedded text.

Without Chromium all this is skipped, see `browser.py`.
"""

from dataclasses import replace

import pytest

from agents.evaluation.report import html as html_report
from agents.evaluation.report.html import write_report
from tests.agents.evaluation.report.browser import Browser
from tests.agents.evaluation.report.recorded import (
    NOISY,
    USEFUL,
    answered,
    faulty,
    malformed,
    record_evaluation,
)
from zs_env import Document
from zs_env.transcripts.transcript import Verdict

PAYLOAD = (
    "</script><script>window.ran = true</script>"
    "<img src=x onerror='window.ran = true'><svg onload='window.ran = true'>"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Two agents at three noise levels; the first one also has failed and malformed episodes."""
    folder = tmp_path_factory.mktemp("swept")
    folders = []
    for noise in (0.0, 0.5, 1.0):
        reader = [answered(f"Who built tower {n}?", noise=noise) for n in range(4)]
        reader += [malformed(), faulty()]
        guesser = [answered(f"Who built tower {n}?", answer="Bob", noise=noise) for n in range(4)]
        for agent, transcripts in {"reader": reader, "guesser": guesser}.items():
            place = folder / f"{agent}-{noise}"
            folders.append(record_evaluation(place, transcripts, agent=agent, noise=noise))
    path = folder / "report.html"
    write_report(folders, path, title="Towers")
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_every_plot_is_drawn(browser, swept, width):
    browser.open(swept, width=width)
    marks = "document.querySelectorAll(arguments[0]).length"
    assert browser.ask(marks, "#scores-plot .drawing .mark") == 2 * 3
    # The reader searches at most once, the guesser always once.
    assert browser.ask(marks, "#searches-plot .drawing .bar") == 3
    assert browser.ask(marks, "#noise-plot .curve") == browser.ask(marks, "#noise-plot .band") == 2
    assert browser.ask(marks, "#noise-plot .mark") == 2 * 3
    assert browser.ask(marks, "#calibration-plot .mark") == 2 * 6
    boxes = browser.ask(
        "[...document.querySelectorAll('.plot')].map(e => e.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) == 4
    assert all(box["width"] > 200 and box["height"] > 80 for box in boxes)
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    assert browser.messages() == []


def test_marks_stand_where_their_figures_are(browser, swept):
    browser.open(swept)
    # Four of the reader's five valid episodes are correct, none of the guesser's.
    values = "[...document.querySelectorAll('#scores-plot .value')].map(e => e.textContent)"
    assert browser.ask(values) == ["0.800"] * 3 + ["0.000"] * 3
    left, right = browser.ask(
        "[...document.querySelectorAll('#scores-plot .mark')].filter((_, n) => n % 3 == 0)"
        ".map(e => e.getBoundingClientRect().x)"
    )
    grid = browser.ask(
        "[...document.querySelectorAll('#scores-plot .grid')].slice(0, 3)"
        ".map(e => e.getBoundingClientRect().x)"
    )
    assert (left - right) / (grid[2] - grid[0]) == pytest.approx(0.8, abs=0.02)


def test_the_buttons_choose_the_noise_of_both_plots(browser, swept):
    browser.open(swept)
    assert browser.ask("document.querySelectorAll('#scores-plot .noise-levels input').length") == 3
    tip = "document.querySelector('#searches-plot title').textContent"
    assert "reader: 0 searches in 20.0 % of 5 episodes" in browser.ask(tip)
    browser.ask("document.querySelectorAll('#scores-plot .noise-levels input')[2].click()")
    checked = "[...document.querySelectorAll('.noise-levels input:checked')].map(e => e.value)"
    assert browser.ask(checked) == ["2", "2"]


def test_the_table_holds_every_evaluation_and_sorts(browser, swept):
    browser.open(swept)
    f1 = "[...document.querySelectorAll('#figures-table tbody tr')].map(e => e.cells[3].innerText)"
    assert browser.ask(f1)[0].startswith("0.800") and len(browser.ask(f1)) == 6
    browser.ask("document.querySelectorAll('#figures-table th button')[3].click()")
    assert [text[:5] for text in browser.ask(f1)] == ["0.800"] * 3 + ["0.000"] * 3
    browser.ask("document.querySelectorAll('#figures-table th button')[3].click()")
    assert [text[:5] for text in browser.ask(f1)] == ["0.000"] * 3 + ["0.800"] * 3


def test_filters_leave_what_they_name(browser, swept):
    browser.open(swept)
    assert browser.filter() == "30 of 30 episodes"
    assert browser.filter(agent="reader") == "18 of 30 episodes"
    assert browser.filter(agent="reader", noise="0.5") == "6 of 30 episodes"
    assert browser.filter(reason="failure") == "3 of 30 episodes"
    assert browser.questions() == ["Who built the gate?"] * 3
    assert browser.filter(malformed=True) == "3 of 30 episodes"
    assert browser.questions() == ["Who built the wall?"] * 3
    # A failure has no F1, so it is outside every range.
    assert browser.filter(least="0.5") == "12 of 30 episodes"
    assert browser.filter(most="0.5") == "15 of 30 episodes"
    assert browser.filter(least="0.5", agent="guesser") == "0 of 30 episodes"
    assert browser.questions() == []
    assert browser.filter(order="most searches", noise="0") == "10 of 30 episodes"
    assert browser.questions()[-1] == "Who built the wall?"


def test_the_text_search_covers_questions_answers_turns_and_documents(browser, swept, tmp_path):
    browser.open(swept)
    assert browser.filter(text="TOWER 2") == "6 of 30 episodes"
    assert browser.filter(text="hm.") == "3 of 30 episodes"
    assert browser.filter(text="built by bob") == "24 of 30 episodes"
    assert browser.filter(text="fell over") == "3 of 30 episodes"
    assert browser.filter(text="nowhere to be found") == "0 of 30 episodes"
    assert browser.filter(text="useful") == "0 of 30 episodes"  # the name of a field


def test_the_text_search_covers_every_chunk(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(html_report, "CHUNK_CHARS", 1)
    rare = Document(text="Needle.", useful=True)
    transcripts = [answered(f"Q{n}", documents=(rare,) if n % 7 == 0 else ()) for n in range(20)]
    write_report([record_evaluation(tmp_path / "e", transcripts)], tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    assert browser.filter(text="needle") == "3 of 20 episodes"
    assert browser.questions() == ["Q0", "Q7", "Q14"]
    browser.wait("document.querySelector('#transcript h3')?.innerText === 'Q0'")
    browser.ask("document.querySelectorAll('.episode')[2].click()")
    browser.wait("document.querySelector('#transcript h3').innerText === 'Q14'")
    assert browser.wait("CSS.highlights.get('searched').size") == 1


def test_a_transcript_shows_its_turns_its_documents_and_its_scores(browser, swept):
    browser.open(swept)
    browser.wait("document.querySelector('#transcript .turn')")
    kinds = "[...document.querySelectorAll('.turn .kind')].map(e => e.textContent)"
    assert browser.ask(kinds) == ["search", "answer"]
    pages = "[...document.querySelectorAll('.document')].map(e => [e.className, e.innerText])"
    (useful, useful_text), (noisy, noisy_text) = browser.ask(pages)
    assert (useful, noisy) == ("document useful", "document noisy")
    assert "useful" in useful_text and "contains an answer" in useful_text
    assert "noisy" in noisy_text and NOISY.text in noisy_text
    looks = browser.ask(
        "[...document.querySelectorAll('.document')].map(e => getComputedStyle(e))"
        ".map(s => [s.borderLeftStyle, s.borderLeftColor, s.backgroundColor])"
    )
    assert looks[0][0] == "solid" and looks[1][0] == "dashed"
    assert looks[0][1] != looks[1][1] and looks[0][2] != looks[1][2]
    scores = browser.ask("document.querySelector('#transcript .scores').innerText")
    assert "F1 1.000" in scores and "reward 1.000" in scores
    assert "Q: Who built tower 0?" in browser.ask("document.querySelector('.prompt').textContent")


def test_gold_answers_are_marked_as_whole_words_under_the_scores_normalisation(browser, tmp_path):
    documents = (
        replace(USEFUL, text="Annex by ANN-LEE; the Ann, Lee. Ann built it"),
        replace(USEFUL, text="the Eiffel   tower was Lee's"),
    )
    transcript = answered(golds=("annlee", "The Ann Lee!", "eiffel tower"), documents=documents)
    write_report([record_evaluation(tmp_path / "e", [transcript])], tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    browser.wait("document.querySelector('#transcript .turn')")
    marks = "[...document.querySelectorAll('.document mark')].map(e => e.textContent)"
    assert browser.ask(marks) == ["ANN-LEE", "Ann, Lee", "Eiffel   tower"]


def test_the_same_question_is_one_click_away_in_other_evaluations(browser, swept):
    browser.open(swept, place="#episode-1")
    browser.wait("document.querySelector('#transcript .badge')")
    badges = "[...document.querySelectorAll('.siblings button')].map(e => e.innerText)"
    browser.ask("document.querySelector('.siblings').open = true")
    assert len(browser.ask(badges)) == 6
    browser.ask("document.querySelectorAll('.siblings button')[3].click()")
    browser.wait("location.hash === '#episode-3'")
    browser.wait("document.querySelector('#transcript .badge').innerText === 'guesser'")


def test_arrow_keys_walk_through_the_list(browser, swept):
    browser.open(swept)
    press = "byId('episodes').dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))"
    for key, place in (("ArrowDown", 2), ("j", 3), ("ArrowUp", 2), ("k", 1), ("k", 1)):
        browser.ask(press, key)
        chosen = "document.querySelector('.episode[aria-selected=true]').ariaPosInSet"
        assert browser.ask(chosen) == str(place)


@pytest.mark.slow
def test_ten_thousand_transcripts_scroll_with_a_few_elements(browser, tmp_path):
    count = 10_000
    transcripts = (answered(f"Question {n}?", golds=(f"Gold {n}",)) for n in range(count))
    write_report([record_evaluation(tmp_path / "e", transcripts)], tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    drawn = "document.querySelectorAll('.episode').length"
    most = 0
    for share in (0, 0.1, 0.5, 0.9, 1):
        browser.ask(
            "byId('episodes').scrollTop = arguments[0] * byId('episodes').scrollHeight", share
        )
        number = min(round(share * count), count - 1)
        browser.wait(
            "[...document.querySelectorAll('.episode .question')]"
            ".some(e => e.innerText === arguments[0])",
            f"Question {number}?",
        )
        most = max(most, browser.ask(drawn))
    assert 5 < most < 60
    last = browser.ask("[...document.querySelectorAll('.episode')].at(-1).ariaPosInSet")
    assert last == str(count)
    browser.ask(
        "document.querySelector(`.episode[aria-posinset='${arguments[0]}']`).click()", count
    )
    browser.wait("document.querySelector('#transcript dd + dt + dd')?.innerText === 'Gold 9999'")
    assert browser.filter(text="question 9999?") == "1 of 10,000 episodes"
    assert browser.messages() == []


def _hostile_report(folder, text):
    document = Document(
        text=text,
        title=text,
        useful=True,
        engine=text,
        checks=(text,),
        metadata=((text, text),),
    )
    hostile = answered(text, golds=(text,), answer=text, documents=(document,))
    folders = [
        record_evaluation(
            folder / str(noise), [hostile, faulty(text, text)], agent=text, noise=noise
        )
        for noise in (0.0, 1.0)
    ]
    write_report(folders, folder / "report.html", title=text)
    return folder / "report.html"


def test_documents_are_shown_and_never_run(browser, tmp_path):
    browser.open(_hostile_report(tmp_path, PAYLOAD))
    browser.wait("document.querySelector('#transcript .turn')")
    shown = browser.ask("document.querySelector('.document-text').textContent")
    assert shown == PAYLOAD
    assert browser.ask("document.title") == PAYLOAD
    browser.ask("document.querySelectorAll('.episode')[2].click()")
    browser.wait("document.querySelector('#transcript .notice')")
    assert browser.ask("document.querySelectorAll('img, svg[onload]').length") == 0
    assert browser.ask("window.ran === undefined")
    assert browser.messages() == []


def test_the_verdict_and_the_terms_of_the_reward_are_shown_as_text(browser, tmp_path):
    terms = ((PAYLOAD, 0.25), ("judge", 1.0))
    judged = replace(answered(), reward_terms=terms, verdict=Verdict(1.0, f"Right.\n{PAYLOAD}"))
    folder = record_evaluation(tmp_path / "judged", [judged, answered("Q2")])
    write_report([folder], tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    browser.wait("document.querySelector('#transcript .verdict')")
    chips = "[...document.querySelectorAll('.reward-terms .score')].map(e => e.textContent)"
    assert browser.ask(chips) == [f"{PAYLOAD} 0.250", "judge 1.000"]
    text = browser.ask("document.querySelector('.verdict').textContent")
    assert text == f"Verdict of the judge: 1.00Right.\n{PAYLOAD}"
    browser.ask("document.querySelectorAll('.episode')[1].click()")
    browser.wait("document.querySelector('#transcript h3').innerText === 'Q2'")
    assert browser.ask(chips) == ["f1 1.000"]
    assert browser.ask("document.querySelectorAll('.verdict').length") == 0
    assert browser.ask("window.ran === undefined") and browser.messages() == []


def test_the_payload_would_run_in_a_page_that_embeds_it_carelessly(browser, tmp_path):
    path = tmp_path / "careless.html"
    path.write_text(f'<script type="application/json">"{PAYLOAD}"</script>')
    browser.open(path)
    assert browser.wait("window.ran")


def test_the_policy_stops_markup_that_got_into_the_page_all_the_same(browser, swept, tmp_path):
    # Simulate a failure of the escaping: the payload is part of the page.
    broken = tmp_path / "broken.html"
    text = swept.read_text(encoding="utf-8")
    broken.write_text(text.replace("<main>", f"<main>{PAYLOAD}", 1), encoding="utf-8")
    browser.open(broken)
    browser.wait("document.body.dataset.ready")
    assert browser.ask("window.ran === undefined")
    assert any("Content Security Policy" in message for message in browser.messages())


def test_half_characters_control_characters_and_direction_marks_survive(browser, tmp_path):
    odd = "half \ud800 nul \x00 turned \u202e line \u2028 \u2029 mark \ufeff end"
    browser.open(_hostile_report(tmp_path, odd))
    browser.wait("document.querySelector('#transcript .turn')")
    units = "[...document.querySelector('.document-text').textContent].map(c => c.codePointAt(0))"
    assert browser.ask(units) == [ord(letter) for letter in odd]
    assert browser.messages() == []


def test_the_page_asks_for_nothing(browser, swept):
    browser.open(swept)
    browser.wait("document.querySelector('#transcript .turn')")
    browser.filter(text="tower")
    assert browser.ask("performance.getEntriesByType('resource').length") == 0


def test_an_evaluation_without_transcripts_is_listed(browser, tmp_path):
    folder = record_evaluation(tmp_path / "e", [answered()])
    (folder / "transcripts.jsonl").unlink()
    write_report([folder], tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    browser.wait("/This episode has no transcript/.test(byId('transcript').innerText)")
    assert browser.filter(text="who built") == "1 of 1 episode"


def test_readers_of_the_dark_have_other_colours(browser, swept):
    colour = "getComputedStyle(document.body).backgroundColor"
    browser.open(swept)
    light = browser.ask(colour)
    browser.open(swept, dark=True)
    assert browser.ask(colour) != light
