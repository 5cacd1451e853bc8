"""Speed, memory and laws of the engine `corpus` on real questions and passages.

    python -m benchmarks.engines.corpus --passages FILE --questions FILE [FILE ...] [--json]

The engine answers 2,000 questions, with the question as the query, in batches of 64: useful pages
and noisy pages of five documents. The speed is per second of CPU time, so per core. The peer is the
library bm25s, which ranks and returns the same number of passages from its own memory-mapped index
and does not control quality. The last rows count pages that break a law; each has to be 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Row, print_rows
from zs_env.engines import BM25Engine, CorpusEngine
from zs_env.metrics import contains_answer
from zs_env.questions import load_questions_files
from zs_env.questions.hidden_answers import hidden_answers
from zs_env.questions.question import Question
from zs_env.search.types import SearchError, SearchPage, SearchRequest
from zs_env.text.words import content_words

_DOCUMENTS, _BATCH = 5, 64
_JUNK = "qwxyzzy plugh frobnicate"
# Runs in a process of its own, so that its memory is not that of our engine.
_PEER = """
import sys, time
import bm25s
folder, texts = sys.argv[1], sys.stdin.read().split("\\n")
engine = bm25s.BM25.load(folder, mmap=True, load_corpus=True)
started = time.process_time()
for start in range(0, len(texts), 64):
    tokens = bm25s.tokenize(texts[start : start + 64], stopwords="en", show_progress=False)
    engine.retrieve(tokens, k=5, show_progress=False, n_threads=1)
seconds = time.process_time() - started
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(len(texts) / seconds, int(peak.split()[1]) / 1e6)
"""


def measure(passages: Path, questions: Sequence[Question]) -> list[Row]:
    """Measure the engine and bm25s, and count pages that break a law."""
    engine = CorpusEngine(BM25Engine(passages), questions)
    wrong, speeds = dict.fromkeys(_LAWS, 0), {}
    for quality in ("useful", "noisy"):
        requests = [_request(one, one.text, quality == "useful") for one in questions]
        pages, speeds[quality] = _search(engine, requests)
        for question, request, page in zip(questions, requests, pages, strict=True):
            _count(question, request, page, wrong)
    memory = _peak_gb()
    peer_speed, peer_memory = _measure_peer(passages, questions)
    rows = [
        Row(case=f"{quality} pages, bm25s", ours=speed, peer=peer_speed, unit="queries/s")
        for quality, speed in speeds.items()
    ]
    rows.append(Row(case="peak memory, bm25s", ours=memory, peer=peer_memory, unit="GB"))
    junk = [_request(one, _JUNK, True) for one in questions]
    for page in _search(engine, junk)[0]:
        wrong["a query without a word of any passage gets documents"] += bool(page.documents)
    rows += [Row(case=law, ours=count, peer=None, unit="pages") for law, count in wrong.items()]
    return rows


_LAWS = (
    "a useful page without an answer or a gold document",
    "a useful passage was missed: it is retrieved and not shown",
    "a noisy page with an answer or a gold document",
    "a label that is not what was delivered",
    "a document without a word of the query",
    "a query without a word of any passage gets documents",
)


def _peak_gb() -> float:
    """Return the highest resident memory of this process."""
    # `getrusage` of a child process also counts the memory of its parent.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e6


def _count(
    question: Question, request: SearchRequest, page: SearchPage, wrong: dict[str, int]
) -> None:
    labels = {one.useful for one in page.documents}
    texts = [f"{one.title} {one.text}" for one in page.documents]
    answers = question.answers
    if question.is_yes_no or question.gold_documents:
        answers = hidden_answers(question.text, answers)
    gold = [bool(dict(one.metadata).get("is_gold")) for one in page.documents]
    answered = [
        contains_answer(text, answers) or is_gold for text, is_gold in zip(texts, gold, strict=True)
    ]
    failed = any("not_retrieved" in one.checks for one in page.documents)
    words = set(content_words(request.query))
    wrong[_LAWS[0]] += labels == {True} and not any(answered)
    wrong[_LAWS[1]] += failed and any(answered)
    wrong[_LAWS[2]] += not request.useful[0] and any(answered)
    wrong[_LAWS[3]] += len(labels) > 1 or (not request.useful[0] and labels > {False})
    wrong[_LAWS[4]] += any(words.isdisjoint(content_words(text)) for text in texts)


def _request(question: Question, query: str, useful: bool) -> SearchRequest:
    return SearchRequest(query, question.text, question.answers, (useful,) * _DOCUMENTS, 0)


def _search(
    engine: CorpusEngine, requests: Sequence[SearchRequest]
) -> tuple[list[SearchPage], float]:
    """Return the pages and the number of requests per second of CPU time."""
    pages: list[SearchPage] = []
    started = time.process_time()
    for start in range(0, len(requests), _BATCH):
        for page in engine.search(requests[start : start + _BATCH]):
            if isinstance(page, SearchError):
                raise page
            pages.append(page)
    return pages, len(requests) / (time.process_time() - started)


def _measure_peer(passages: Path, questions: Sequence[Question]) -> tuple[float, float]:
    """Return queries per second and peak memory in GB of bm25s; its index is built if missing."""
    import bm25s

    from zs_env.engines.retrieval.passage_file import read_passages

    folder = passages.with_name(f"{passages.name}.bm25s-peer")
    if not folder.exists():
        rows = [{"text": f"{one.title} {one.text}"} for one in read_passages(passages)]
        index = bm25s.BM25(method="lucene", k1=1.2, b=0.75, corpus=rows)
        tokens = bm25s.tokenize([row["text"] for row in rows], stopwords="en", show_progress=False)
        index.index(tokens, show_progress=False)
        index.save(str(folder), corpus=rows)
    texts = "\n".join(" ".join(question.text.split()) for question in questions)
    done = subprocess.run(
        [sys.executable, "-c", _PEER, str(folder)],
        input=texts,
        capture_output=True,
        text=True,
        check=True,
    )
    speed, memory = map(float, done.stdout.split()[-2:])
    return speed, memory


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=Path, required=True, help="a passage file")
    parser.add_argument("--questions", nargs="+", required=True, help="question files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    questions = load_questions_files(arguments.questions)[:2000]
    print_rows(measure(arguments.passages, questions), as_json=arguments.json)


if __name__ == "__main__":
    main()
