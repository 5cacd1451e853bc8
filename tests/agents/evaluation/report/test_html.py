"""The report as a file: embedded data and content security policy, without a browser.

`test_report_page.py` opens it in one.
"""

import base64
import gzip
import json
import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from agents.cli.main import main
from agents.evaluation.report import html as html_report
from agents.evaluation.report.contents import with_unique_names
from agents.evaluation.report.html import script_json, write_report
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

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)>\u2028\u2029"


class Page(HTMLParser):
    """Parses a report: its elements, and the text of scripts and styles."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.texts, self.inside = [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data

    def of(self, tag, **attributes):
        return [
            text
            for (name, found), text in zip(self.elements, self.texts, strict=True)
            if name == tag and attributes.items() <= found.items()
        ]

    def report(self):
        report = json.loads(self.of("script", id="report")[0])
        rows = [dict(zip(report["columns"], row, strict=True)) for row in report["rows"]]
        return report | {"rows": rows}

    def chunks(self):
        return [
            json.loads(gzip.decompress(base64.b64decode(json.loads(text))))
            for text in self.of("script", **{"class": "transcripts"})
        ]


def _page(tmp_path, *evaluations, title="Report"):
    folders = [
        record_evaluation(tmp_path / str(number), transcripts, **setting)
        for number, (transcripts, setting) in enumerate(evaluations)
    ]
    path = tmp_path / "report.html"
    write_report(folders, path, title=title)
    return Page(path)


def test_embedded_json_is_ascii_without_tags():
    value = {HOSTILE: [HOSTILE, "\ud800 \x00 \u202e é", 1.5, None, True]}
    text = script_json(value)
    assert text.isascii() and "<" not in text and "\n" not in text
    assert json.loads(text) == value


def test_numbers_that_are_not_finite_become_null():
    nan, inf = float("nan"), float("inf")
    assert script_json({"x": [nan, 1.0, (inf, -inf)]}) == '{"x":[null,1.0,[null,null]]}'


def test_every_episode_is_a_row_with_the_place_of_its_transcript(tmp_path):
    page = _page(
        tmp_path,
        ([answered("Q0"), malformed(), faulty()], {"agent": "one"}),
        ([answered("Q0", answer="Bob")], {"agent": "two", "noise": 0.5}),
    )
    rows, (chunk,) = page.report()["rows"], page.chunks()
    # The shared question comes first, then the questions of the longer evaluation.
    assert [(row["evaluation"], row["index"]) for row in rows] == [(0, 0), (1, 0), (0, 1), (0, 2)]
    assert [row["question"] for row in rows[:2]] == ["Q0", "Q0"]
    assert [row["prediction"] for row in rows] == ["Ann", "Bob", None, None]
    assert [row["f1"] for row in rows] == [1.0, 0.0, 0.0, 0.0]
    assert [row["reason"] for row in rows] == ["answer", "answer", "turn_limit", "failure"]
    assert rows[2]["malformed"] == 2 and rows[3]["failure"] == "the engine fell over"
    for row in rows:
        transcript = chunk["transcripts"][row["place"]]
        assert row["chunk"] == 0 and transcript["prompt"] == f"Q: {row['question']}\n"
    kinds = [turn["kind"] for turn in chunk["transcripts"][rows[0]["place"]]["turns"]]
    assert kinds == ["search", "answer"]


def test_a_document_is_stored_once_in_a_chunk_and_chunks_are_limited(tmp_path, monkeypatch):
    together = _page(tmp_path / "a", ([answered(f"Q{n}") for n in range(4)], {}))
    (chunk,) = together.chunks()
    assert [one["text"] for one in chunk["documents"]] == [USEFUL.text, NOISY.text]
    assert [one["turns"][0]["documents"] for one in chunk["transcripts"]] == [[0, 1]] * 4

    monkeypatch.setattr(html_report, "CHUNK_CHARS", 1)
    apart = _page(tmp_path / "b", ([answered(f"Q{n}") for n in range(4)], {}))
    assert [len(chunk["transcripts"]) for chunk in apart.chunks()] == [1, 1, 1, 1]
    places = [(row["chunk"], row["place"]) for row in apart.report()["rows"]]
    assert places == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert [len(chunk["documents"]) for chunk in apart.chunks()] == [2, 2, 2, 2]


def test_figures_count_failures_and_exclude_them(tmp_path):
    page = _page(tmp_path, ([answered(), answered(answer="Bob"), malformed(), faulty()], {}))
    (figures,) = page.report()["evaluations"]
    assert (figures["episodes"], figures["failures"]) == (4, 1)
    assert figures["f1"][0] == pytest.approx(1 / 3)
    assert figures["searches"][0] == pytest.approx(2 / 3)
    assert figures["searches_counts"] == [1, 2]
    assert figures["failure_rate"][0] == 0.25
    assert figures["reasons"] == {"answer": 2, "failure": 1, "turn_limit": 1}


def test_observed_noise_is_pooled_over_pages(tmp_path):
    # Four of six documents are noisy; one of three pages has no gold answer. Averaged by
    # episode it would be (1 + 1/2) / 2.
    twice = answered(documents=(NOISY, USEFUL), noise=0.5)
    search, answer = twice.turns
    page = _page(
        tmp_path,
        (
            [
                answered(documents=(NOISY, NOISY), noise=0.5),
                replace(twice, turns=(search, search, answer)),
                answered("Is it?", golds=("yes",), documents=(), noise=0.5),
            ],
            {"noise": None},
        ),
    )
    (figures,) = page.report()["evaluations"]
    assert figures["noise"] == 0.5
    assert figures["noisy_share"][0] == pytest.approx(4 / 6)
    assert figures["unanswering_share"][0] == pytest.approx(1 / 3)


def test_pages_of_yes_no_questions_have_no_labels(tmp_path):
    unjudged = answered(golds=("yes",), documents=(Document(text="x", useful=True),))
    (figures,) = _page(tmp_path, ([unjudged], {})).report()["evaluations"]
    assert figures["unanswering_share"] is None and figures["noisy_share"] == [0.0, 0.0, 0.0]


def test_equal_names_are_extended_by_folders(tmp_path):
    page = _page(tmp_path, ([answered()], {}), ([answered()], {}), ([answered()], {"noise": 1.0}))
    names = [figures["agent"] for figures in page.report()["evaluations"]]
    assert names == [f"reader ({tmp_path / '0'})", f"reader ({tmp_path / '1'})", "reader"]


def test_different_agents_with_one_label_are_extended_by_folders(tmp_path):
    page = _page(tmp_path, ([answered()], {}), ([answered()], {"noise": 1.0}))
    assert {one["agent"] for one in page.report()["evaluations"]} == {"reader"}
    figures = [
        {"agent": "a", "set": "s", "engine": "", "noise": noise, "folder": str(noise)}
        | {"setting": {"agent": agent}}
        for noise, agent in ((0.0, "one"), (1.0, "two"))
    ]
    assert [one["agent"] for one in with_unique_names(figures)] == ["a (0.0)", "a (1.0)"]


def test_embedded_text_creates_no_elements(tmp_path):
    def page(folder, text):
        document = Document(text=text, title=text, useful=True, checks=(text,), engine=text)
        hostile = answered(text, golds=(text,), answer=text, documents=(document,))
        terms, verdict = ((text, 1.0), ("judge", 0.5)), Verdict(0.5, text)
        hostile = replace(hostile, reward_terms=terms, verdict=verdict)
        transcripts = [hostile, faulty(text, failure=text)]
        return _page(tmp_path / folder, (transcripts, {"agent": text}), title=text)

    tame, hostile = page("a", "words"), page("b", HOSTILE)
    assert hostile.elements == tame.elements
    row = hostile.report()["rows"][0]
    assert row["question"] == row["prediction"] == HOSTILE
    (chunk,) = hostile.chunks()
    assert chunk["documents"][0]["text"] == HOSTILE
    judged, failed = chunk["transcripts"]
    assert judged["verdict"] == {"value": 0.5, "text": HOSTILE} and failed["verdict"] is None
    assert judged["reward_terms"] == [[HOSTILE, 1.0], ["judge", 0.5]]


def test_the_policy_allows_only_the_scripts_and_style_of_the_page(tmp_path):
    page = _page(tmp_path, ([answered()], {}))
    (policy,) = [
        found["content"]
        for tag, found in page.elements
        if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))

    def digests(texts):
        hashes = [base64.b64encode(sha256(text.encode()).digest()).decode() for text in texts]
        return " ".join(f"'sha256-{one}'" for one in hashes)

    scripts = [
        text
        for (tag, found), text in zip(page.elements, page.texts, strict=True)
        if tag == "script" and "type" not in found
    ]
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == digests(scripts)
    assert rules["style-src"] == digests(page.of("style"))
    assert "unsafe" not in policy and "http" not in policy


def test_the_page_contains_no_links(tmp_path):
    _page(tmp_path, ([answered()], {}))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    # The namespace of SVG is a name and never fetched.
    links = set(re.findall(r"[\w-]+://[^\"'\s)]*", text)) - {"http://www.w3.org/2000/svg"}
    assert not links
    assert not re.search(r"@import|url\(|\bsrc=|innerHTML|\bfetch\(", text)


def test_equal_evaluations_give_equal_bytes(tmp_path):
    folder = record_evaluation(tmp_path / "e", [answered(), faulty()])
    for name in ("a.html", "b.html"):
        write_report([folder], tmp_path / "deep" / name, title="half a \ud800 letter")
    first, second = ((tmp_path / "deep" / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a.html", "b.html"]


def test_the_command_writes_a_page_and_prints_its_size(tmp_path, capsys):
    folder = record_evaluation(tmp_path / "e", [answered()])
    output = tmp_path / "page.html"
    assert main(["report", str(folder), "--output", str(output), "--title", "Towers"]) == 0
    assert Page(output).report()["title"] == "Towers"
    assert "page.html" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere"), "--output", str(output)]) == 2
    assert "zerosearch evaluate" in capsys.readouterr().err


def test_a_report_needs_a_folder(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        write_report([], tmp_path / "report.html")
