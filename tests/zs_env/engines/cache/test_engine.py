"""Equal requests get the same page, and the file survives interruptions."""

import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from zs_env.engines import CachedEngine, ScriptedEngine
from zs_env.episode import Episode
from zs_env.questions.question import Question
from zs_env.search.types import Document, SearchCost, SearchError, SearchPage, SearchRequest

REQUEST = SearchRequest("who", "Who was it?", ("Ada",), (True, False), 7)


class Counting:
    """An engine whose every page is another, so that a page tells which call made it."""

    name = "counting"
    fingerprint = "counting"

    def __init__(self):
        self.calls = self.pages = 0

    def search(self, requests):
        self.calls += 1
        pages = []
        for request in requests:
            self.pages += 1
            pages.append(
                SearchPage((Document(f"{request.query} {self.pages}"),), SearchCost(calls=1), "c")
            )
        return pages


def _texts(pages):
    return [page.documents[0].text for page in pages]


def test_equal_requests_in_a_batch_make_one_page_and_one_cost():
    engine = Counting()
    other = replace(REQUEST, seed=8)
    pages = CachedEngine(engine).search([REQUEST, other, REQUEST, REQUEST, other])
    assert (engine.calls, engine.pages) == (1, 2)
    assert _texts(pages) == ["who 1", "who 2", "who 1", "who 1", "who 2"]
    assert [page.cost.calls for page in pages] == [1, 1, 0, 0, 0]
    assert [page.cost.cached for page in pages] == [False, False, True, True, True]


@pytest.mark.parametrize(
    "change",
    [
        {"query": "whom"},
        {"question": "Who else?"},
        {"question": None},
        {"answers": ("Eve",)},
        {"answers": None},
        {"useful": (True, True)},
        {"seed": 8},
    ],
)
@pytest.mark.parametrize("with_file", [False, True])
def test_whatever_differs_in_a_request_makes_another_page(tmp_path, change, with_file):
    engine = Counting()
    path = tmp_path / "cache.sqlite" if with_file else None
    CachedEngine(engine, path).search([REQUEST])
    CachedEngine(engine, path, max_pages=1).search([replace(REQUEST, **change), REQUEST])
    assert engine.pages == (2 if with_file else 3)


def test_another_engine_is_another_page(tmp_path):
    path = tmp_path / "cache.sqlite"
    first = CachedEngine(ScriptedEngine(lambda _: ["a"], fingerprint="a"), path)
    second = CachedEngine(ScriptedEngine(lambda _: ["b"], fingerprint="b"), path)
    assert _texts(first.search([REQUEST]) + second.search([REQUEST])) == ["a", "b"]


def test_an_engine_without_a_fingerprint_cannot_be_cached(tmp_path):
    class Nameless:
        def search(self, requests):
            return [SearchPage((Document("x"),)) for _ in requests]

    path = tmp_path / "cache.sqlite"
    with pytest.raises(ValueError, match="'Nameless' has no fingerprint"):
        CachedEngine(Nameless(), path)
    CachedEngine(Nameless(), path, fingerprint="mine").search([REQUEST])
    replay = CachedEngine(Nameless(), path, "replay", fingerprint="mine")
    assert replay.search([REQUEST])[0].cost.cached


def test_an_engine_that_sees_only_queries_is_asked_once_whoever_asks(tmp_path):
    engine = Counting()
    engine.query_only = True
    path = tmp_path / "cache.sqlite"
    cached = CachedEngine(engine, path, "record")
    other = SearchRequest("who", None, None, (False, False), 8)
    assert _texts(cached.search([REQUEST, other])) == ["who 1"] * 2
    assert _texts(cached.search([replace(REQUEST, useful=(True,))])) == ["who 2"]
    cached.close()
    replay = CachedEngine(None, path, "replay")
    assert _texts(replay.search([replace(REQUEST, seed=99)])) == ["who 1"]
    replay.close()


@pytest.mark.parametrize("recorded", ["model-2", "by-query/model-2"])
@pytest.mark.parametrize("replayed", ["model-2", "by-query/model-2"])
def test_a_replay_without_engine_knows_a_named_one_that_sees_only_queries(
    tmp_path, recorded, replayed
):
    engine = Counting()
    engine.query_only = True
    path = tmp_path / "cache.sqlite"
    with closing(CachedEngine(engine, path, "record", fingerprint=recorded)) as cached:
        cached.search([REQUEST])
    with closing(CachedEngine(None, path, "replay", fingerprint=replayed)) as replay:
        assert _texts(replay.search([replace(REQUEST, seed=99)])) == ["who 1"]


def test_five_equal_episodes_of_two_searches_make_two_engine_calls():
    engine = Counting()
    cached = CachedEngine(engine)
    for _ in range(5):
        episode = Episode(Question(id="q", text="Who?", answers=("Ada",)), seed=3)
        for query in ("who", "when"):
            request = episode.act(f"<search>{query}</search>")
            assert isinstance(request, SearchRequest)
            episode.receive(cached.search([request])[0])
    assert engine.calls == 2


def test_what_was_recorded_is_replayed_and_the_rest_is_an_error(tmp_path):
    path = tmp_path / "cache.sqlite"
    recorder = CachedEngine(Counting(), path, "record")
    recorded = recorder.search([REQUEST, replace(REQUEST, seed=8)])
    recorder.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache.sqlite"]
    engine = Counting()
    for replay in (CachedEngine(engine, path, "replay"), CachedEngine(None, path, "replay")):
        pages = replay.search([replace(REQUEST, seed=8), REQUEST])
        assert pages == recorded[::-1]
        assert all(page.cost == SearchCost(cached=True) for page in pages)
        page, miss = replay.search([REQUEST, replace(REQUEST, query="whom")])
        assert page == recorded[0] and "query 'whom'" in str(miss)
        with pytest.raises(SearchError, match=r"query 'whom'.*not recorded"):
            replay.search([replace(REQUEST, query="whom")])
        assert replay.search([REQUEST]) == recorded[:1]  # the error did no harm
    assert engine.calls == 0


def test_a_recorded_page_is_never_replaced(tmp_path):
    path = tmp_path / "cache.sqlite"
    first, second = (CachedEngine(Counting(), path, "record") for _ in range(2))
    seen = first.search([REQUEST])
    assert second.search([replace(REQUEST, query="x"), REQUEST])[1] == seen[0]


def test_documents_come_back_as_they_were(tmp_path):
    odd = "\ud800 \x00 \u202e 🚁 </search>"
    document = Document(
        odd,
        "title",
        useful=False,
        engine="e",
        rank=3,
        contains_answer=True,
        truncated=True,
        checks=("copied",),
        metadata=(("passage_id", "p1"), ("spans", ((1, 2), (3, 4))), ("score", 0.1)),
    )
    page = SearchPage((document, Document("")), engine="odd")
    request = replace(REQUEST, query=odd, question=odd, answers=(odd,))
    path = tmp_path / "cache.sqlite"
    CachedEngine(ScriptedEngine(lambda _: page), path, "record").search([request])
    assert CachedEngine(None, path, "replay").search([request]) == [page]


def test_pages_used_longest_ago_leave_the_memory_first():
    engine = Counting()
    cached = CachedEngine(engine, max_pages=2)
    a, b, c = (replace(REQUEST, query=query) for query in "abc")
    for request in (a, b, a, c):  # c drives out b
        cached.search([request])
    assert engine.calls == 3
    cached.search([a, c])
    assert engine.calls == 3
    cached.search([b])
    assert engine.calls == 4


def test_a_failure_is_not_kept():
    errors = iter([SearchError("down"), None])

    def script(request):
        error = next(errors)
        if error is not None:
            raise error
        return ["up"]

    cached = CachedEngine(ScriptedEngine(script))
    failures = cached.search([REQUEST, REQUEST])
    assert [str(failure) for failure in failures] == ["down", "down"]
    assert _texts(cached.search([REQUEST])) == ["up"]


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ([], "wrong number of pages: 0 for 1"),
        (None, "wrong type: search.. returned NoneType"),
        (["x"], "wrong type: str"),
        ([SearchPage((Document("x", metadata=(("k", object()),)),))], "metadata JSON values"),
        ([SearchPage(("text",))], "expected Document objects on a page"),
    ],
)
def test_a_broken_engine_is_a_failure_and_nothing_is_kept(tmp_path, answer, match):
    class Broken:
        fingerprint = "broken"

        def search(self, requests):
            return answer

    path = tmp_path / "cache.sqlite"
    with pytest.raises(SearchError, match=match):
        raise CachedEngine(Broken(), path).search([REQUEST])[0]
    with pytest.raises(SearchError, match="not recorded"):
        CachedEngine(None, path, "replay", fingerprint="broken").search([REQUEST])


def test_the_failure_of_one_request_stands_in_its_place_and_is_not_kept(tmp_path):
    errors = iter([SearchError("down"), None])

    class Partial(Counting):
        def search(self, requests):
            pages = super().search(requests)
            return [pages[0], *[next(errors) or page for page in pages[1:]]]

    other = replace(REQUEST, query="whom")
    cached = CachedEngine(Partial(), tmp_path / "cache.sqlite")
    page, error, again = cached.search([REQUEST, other, other])
    assert _texts([page]) == ["who 1"]
    assert isinstance(error, SearchError) and again is error
    assert _texts(cached.search([REQUEST])) == ["who 1"]
    assert _texts(cached.search([replace(REQUEST, seed=9), other])) == ["who 3", "whom 4"]


def test_equal_requests_of_several_threads_make_one_call():
    started = threading.Event()

    class Slow(Counting):
        def search(self, requests):
            started.set()
            time.sleep(0.05)
            return super().search(requests)

    engine = Slow()
    cached = CachedEngine(engine)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(cached.search, [REQUEST]) for _ in range(8)]
        texts = {_texts(future.result())[0] for future in futures}
    assert texts == {"who 1"}
    assert engine.calls == 1


def test_who_waits_for_a_call_that_fails_hears_of_it():
    entered, leave = threading.Event(), threading.Event()

    def script(request):
        entered.set()
        leave.wait(5)
        raise SearchError("down")

    cached = CachedEngine(ScriptedEngine(script))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached.search, [REQUEST])
        entered.wait(5)
        second = pool.submit(cached.search, [REQUEST])
        while not second.running():
            time.sleep(0.001)
        leave.set()
        for future in (first, second):
            assert isinstance(future.exception(5), SearchError)


def _write_many(arguments):
    path, worker = arguments
    engine = CachedEngine(
        ScriptedEngine(lambda request: [f"{request.query} of {worker}"]), path, "live"
    )
    requests = [replace(REQUEST, seed=seed) for seed in range(60)]
    return [_texts(engine.search([request]))[0] for request in requests]


def test_processes_that_share_a_file_all_see_what_it_holds(tmp_path):
    path = tmp_path / "cache.sqlite"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        seen = pool.map(_write_many, [(path, worker) for worker in range(3)])
    requests = [replace(REQUEST, seed=seed) for seed in range(60)]
    held = _texts(CachedEngine(None, path, "replay").search(requests))
    assert seen == [held] * 3


def test_a_copy_opens_the_file_anew(tmp_path):
    engine = CachedEngine(ScriptedEngine({"who": ["Ada"]}), tmp_path / "cache.sqlite")
    engine.search([REQUEST])
    copy = pickle.loads(pickle.dumps(engine))
    assert copy.search([REQUEST])[0].cost.cached
    assert _texts(copy.search([REQUEST])) == ["Ada"]


def test_a_forked_child_opens_the_file_anew(tmp_path):
    # In a process of its own, because forking this one would take its threads' locks along.
    script = f"""
        import os
        from zs_env.engines import CachedEngine, ScriptedEngine
        from zs_env.search.types import SearchRequest
        requests = [SearchRequest(str(n), "Q", ("x",), (True,), n) for n in range(3)]
        engine = CachedEngine(
            ScriptedEngine(lambda r: [r.query]), {str(tmp_path / "cache.sqlite")!r}, max_pages=1
        )
        engine.search(requests[:1])
        parent = engine._store._connected()
        child = os.fork()
        engine.search(requests[1:2] if child else requests[2:])
        if not child:
            os._exit(int(engine._store._connected() is parent))
        assert os.waitpid(child, 0)[1] == 0
        assert engine._store._connected() is parent
        assert all(page.cost.cached for page in engine.search(requests))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "cache.sqlite"
    script = f"""
        from zs_env.engines import CachedEngine, ScriptedEngine
        from zs_env.search.types import SearchRequest
        engine = CachedEngine(ScriptedEngine(lambda r: [str(r.seed)]), {str(path)!r}, "record")
        for seed in range(10**9):
            engine.search([SearchRequest("q", "Q", ("x",), (True,), seed)])
            print(seed, flush=True)
    """
    last = -1
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                last = int(line)
                if last % 40 == 39:
                    child.send_signal(signal.SIGKILL)
                    break
    requests = [SearchRequest("q", "Q", ("x",), (True,), seed) for seed in range(last + 1)]
    pages = CachedEngine(None, path, "replay").search(requests)
    assert _texts(pages) == [str(seed) for seed in range(last + 1)]


def test_a_full_disk_is_a_search_error_and_the_file_stays_whole(tmp_path):
    path = tmp_path / "cache.sqlite"
    script = f"""
        import resource, signal
        from zs_env.engines import CachedEngine, ScriptedEngine
        from zs_env.search.types import SearchError, SearchRequest
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        engine = CachedEngine(ScriptedEngine(lambda r: ["x" * 9000]), {str(path)!r}, "record")
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        for seed in range(1000):
            try:
                engine.search([SearchRequest("q", "Q", ("x",), (True,), seed)])
            except SearchError as error:
                print(seed, error)
                break
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    failed, message = child.stdout.split(" ", 1)
    assert "cache.sqlite cannot be used" in message
    assert 5 < int(failed) < 40
    requests = [SearchRequest("q", "Q", ("x",), (True,), seed) for seed in range(int(failed))]
    assert len(CachedEngine(None, path, "replay").search(requests)) == int(failed)


def test_a_damaged_file_is_refused_when_opened_or_read(tmp_path):
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    for mode in ("live", "replay"):
        with pytest.raises(ValueError, match=r"cache\.sqlite cannot be used as a cache.*damaged"):
            CachedEngine(Counting(), path, mode)
    path.unlink()
    CachedEngine(Counting(), path, "record").search([REQUEST])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE pages SET page = '{\"engine\": 1'")
    connection.close()
    with pytest.raises(SearchError, match=r"recorded page of 'who'.*is damaged"):
        CachedEngine(None, path, "replay").search([REQUEST])


def test_other_files_and_other_versions_are_refused(tmp_path):
    path = tmp_path / "cache.sqlite"
    CachedEngine(Counting(), path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ValueError, match="schema version 99, expected 1"):
        CachedEngine(Counting(), path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(ValueError, match="another program's"):
        CachedEngine(Counting(), other)


def test_an_empty_file_is_a_new_cache(tmp_path):
    path = tmp_path / "cache.sqlite"
    path.touch()
    assert _texts(CachedEngine(Counting(), path).search([REQUEST])) == ["who 1"]


def test_a_recording_in_a_read_only_folder_can_be_replayed(tmp_path, monkeypatch):
    path = tmp_path / "cache.sqlite"
    recorder = CachedEngine(Counting(), path, "record")
    recorder.search([REQUEST])
    recorder.close()
    tmp_path.chmod(0o555)
    monkeypatch.setattr(os, "access", lambda *_: False)  # for root no folder is read-only
    assert _texts(CachedEngine(None, path, "replay").search([REQUEST])) == ["who 1"]


def test_pages_that_a_read_only_folder_hides_are_an_error(tmp_path, monkeypatch):
    recorder = CachedEngine(Counting(), tmp_path / "cache.sqlite", "record")
    recorder.search([REQUEST])
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("cache.sqlite*"):  # as a killed process leaves them
        shutil.copy(path, copy)
    recorder.close()
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)
        with pytest.raises(ValueError, match="sqlite-wal has pages"):
            CachedEngine(None, copy / "cache.sqlite", "replay").search([REQUEST])
    replayed = CachedEngine(None, copy / "cache.sqlite", "replay")
    assert _texts(replayed.search([REQUEST])) == ["who 1"]


def test_settings_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "cache.sqlite"
    with pytest.raises(ValueError, match="cache mode is one of"):
        CachedEngine(Counting(), path, "rewind")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a file"):
        CachedEngine(Counting(), mode="record")
    with pytest.raises(ValueError, match="needs an engine"):
        CachedEngine(None, path)
    with pytest.raises(ValueError, match="max_pages"):
        CachedEngine(Counting(), max_pages=0)
    with pytest.raises(FileNotFoundError, match="record pages first"):
        CachedEngine(Counting(), path, "replay")
    with pytest.raises(FileNotFoundError, match="create it first"):
        CachedEngine(Counting(), tmp_path / "no" / "cache.sqlite")
    CachedEngine(Counting(), path, fingerprint="mine").search([REQUEST])
    CachedEngine(Counting(), path).search([REQUEST])
    with pytest.raises(ValueError, match=r"pages of 2 engines \['counting', 'mine'\]"):
        CachedEngine(None, path, "replay")
    assert _texts(CachedEngine(None, path, "replay", fingerprint="mine").search([REQUEST]))
