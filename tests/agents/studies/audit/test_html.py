"""The page of an audit: embedded data and content security policy, without and with a browser."""

import base64
import gzip
import json
import re
from hashlib import sha256

import pytest

from agents.studies.audit.audit import audit_sets
from agents.studies.audit.html import MAX_ANSWERS, write_page
from zs_env.engines import BM25Engine
from zs_env.questions.question import Question

pytest.importorskip("bm25s")

HOSTILE = "</script><img src=x onerror='window.ran = true'>"


@pytest.fixture
def page(tmp_path):
    passages = tmp_path / "passages.jsonl"
    passages.write_text(json.dumps({"text": "Ann built the tower."}) + "\n")
    aliases = tuple(f"alias {number}" for number in range(MAX_ANSWERS + 3))
    questions = [
        Question(id="a", text="Who built the tower?", answers=("Ann",)),
        Question(id="b", text=HOSTILE, answers=aliases),
        Question(id="c", text="Is the tower tall?", answers=("yes",)),
        *(Question(id=f"d{n}", text=f"Who sank ship {n}?", answers=("Bob",)) for n in range(150)),
    ]
    path = tmp_path / "audit.html"
    write_page(audit_sets({"<b>": questions}, passages, BM25Engine(passages)), path)
    return path


def _element(text, name):
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', text)[1])


def test_the_page_holds_every_question_and_no_markup_of_theirs(page):
    text = page.read_text(encoding="utf-8")
    about = _element(text, "audit")
    rows = json.loads(gzip.decompress(base64.b64decode(_element(text, "questions"))))
    questions = [dict(zip(about["columns"], row, strict=True)) for row in rows]
    assert len(questions) == 153
    assert [one["answerable"] for one in questions[:4]] == [True, False, None, False]
    assert questions[1]["question"] == HOSTILE
    assert questions[1]["answers"][MAX_ANSWERS:] == ["and 3 more"]
    assert HOSTILE not in text and about["sets"] == ["<b>"]


def test_the_policy_allows_exactly_the_scripts_and_the_style_of_the_page(page):
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(scripts) == 3
    for part in (style, *scripts):
        assert f"'sha256-{base64.b64encode(sha256(part.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.findall(r'(?:src|href)="[^#]', text)


def test_the_page_draws_filters_and_runs_no_text(page):
    from tests.agents.evaluation.report.browser import Browser

    browser = Browser(page.parent / "profile")
    try:
        browser.open(page)
        browser.wait("document.body.dataset.ready === 'true'")
        assert browser.messages() == [] and browser.ask("window.ran") is None
        rows = "document.querySelectorAll('#questions-table tbody tr').length"
        assert browser.ask(rows) == 100
        browser.ask("byId('more').click()")
        assert browser.ask(rows) == 153 and browser.ask("byId('more').hidden")
        for filters, count in (
            ({"answerable": "yes"}, 1),
            ({"answerable": "unknown"}, 1),
            ({"issue": "yes/no"}, 1),
            ({"set": "<b>", "text": "SHIP 14"}, 11),
            ({}, 153),
        ):
            assert browser.filter(**filters) == f"{count} of 153 questions"
        assert HOSTILE in browser.ask("byId('questions-table').innerText")
        assert browser.ask("byId('tables').innerText").startswith("Answerable questions")
    finally:
        browser.driver.quit()
