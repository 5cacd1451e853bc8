"""Calls an engine with a deadline, checks its pages, and counts the cost; calls a judge likewise.

Nothing that an engine or a judge does can stop the environment: any error becomes a failed episode.
Only a spent budget ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zs_env.episode import Episode
from zs_env.search.deadline import TIMED_OUT, PendingCalls
from zs_env.search.engine import Answer, as_engine, check_timeout, search_checked
from zs_env.search.several_queries import single_requests
from zs_env.search.types import BudgetExceeded, SearchCost, SearchError, SearchPage, SearchRequest

if TYPE_CHECKING:
    from zs_env.judge import Judge

# Enough for a slow simulator, and short enough to notice an engine that hangs.
ENGINE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of the engine or the judge for episodes that wait for its results.

    Attributes:
        function: returns one result per input, or what `deliver` makes of another value.
        inputs: requests or transcripts.
        episodes: the episode of each input.
        deliver: gives the episodes their results.
        timeout_s: seconds that the call may take; None for a direct call.
    """

    function: Callable[[Sequence[Any]], Any]
    inputs: Sequence[Any]
    episodes: Sequence[Episode]
    deliver: Callable[[Any, _Call], None]
    timeout_s: float | None

    def split(self) -> Iterator[_Call]:
        """Yield one call per episode; a direct call is not split."""
        if self.timeout_s is None:
            yield self
            return
        for one, episode in zip(self.inputs, self.episodes, strict=True):
            yield replace(self, inputs=[one], episodes=[episode])


class EngineClient:
    """Calls an engine for episodes that wait for a page, and a judge for those with an answer.

    An engine or judge with `in_process` is called directly. Any other one is called in a thread;
    after a timeout that call may still be running while the next one starts.

    `resolve` makes one call for all searches, one for all answers, and waits for them. `submit`
    makes one call per episode, or one call for all if the engine or judge is not thread-safe;
    `poll` returns episodes in the order in which their calls end.

    Args:
        engine: a SearchEngine, or any object with a method `search`.
        timeout_s: seconds that a call may take; None calls every engine directly.
        owned: whether `close` closes the engine too.
        judge: the judge of the reward; None without one. It has its own timeout.

    Raises:
        ValueError: if `timeout_s` is not positive, or the engine's own limit is above it.
    """

    def __init__(
        self,
        engine: Any,
        *,
        timeout_s: float | None,
        owned: bool = False,
        judge: Judge | None = None,
    ) -> None:
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"engine_timeout_s must be positive or None, got {timeout_s}")
        self.engine = as_engine(engine)
        check_timeout(self.engine, timeout_s, "engine_timeout_s")
        self.timeout_s = timeout_s
        self.costs = SearchCost()
        self._owned, self._judge = owned, judge
        self._start()

    def resolve(self, episodes: Iterable[Episode]) -> None:
        """Give each episode that waits for one its page or verdict, or fail it.

        Raises:
            BudgetExceeded: if the engine's budget is spent.
        """
        for call in self._calls_for(episodes, split=False):
            self._run(call)

    def submit(self, episodes: Iterable[Episode]) -> None:
        """Start the calls for episodes that wait for a page or verdict; `poll` returns them.

        Raises:
            BudgetExceeded: if the engine is called directly and its budget is spent.
        """
        for call in self._calls_for(episodes, split=True):
            if call.timeout_s is None:
                self._run(call)
                self._ready += call.episodes
                continue
            call_id = self._calls.submit(call.function, call.inputs, timeout_s=call.timeout_s)
            self._submitted[call_id] = call

    def can_poll(self) -> bool:
        """Whether `poll` returns an episode without waiting."""
        return bool(self._ready or self._results) or self._calls.has_result()

    def poll(self, timeout_s: float | None = None) -> list[Episode]:
        """Return the submitted episodes whose page or verdict is there, or that have failed.

        Args:
            timeout_s: longest wait for the first one; None waits as long as a call may take.

        Raises:
            BudgetExceeded: if the engine's budget is spent.
        """
        self._results |= self._calls.wait(0.0 if self._ready else timeout_s)
        while self._results:
            call_id = next(iter(self._results))
            result = self._results.pop(call_id)
            # A call without an entry was left by an interrupted `resolve`.
            call = self._submitted.pop(call_id, None)
            if call is not None:
                call.deliver(result, call)
                self._ready += call.episodes
        ready, self._ready = self._ready, []
        return ready

    def close(self) -> None:
        """End the threads, and close the engine if it is owned."""
        self._calls.close()
        if self._owned:
            self.engine.close()
            self._owned = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out pending calls and their threads."""
        names = ("engine", "timeout_s", "costs", "_owned", "_judge")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def _start(self) -> None:
        self._calls = PendingCalls()
        self._submitted: dict[int, _Call] = {}  # by call id
        self._results: dict[int, Any] = {}  # by call id; not delivered yet
        self._ready: list[Episode] = []

    def _run(self, call: _Call) -> None:
        """Make a call and wait for it."""
        if call.timeout_s is None:
            call.deliver(call.function(call.inputs), call)
            return
        call_id = self._calls.submit(call.function, call.inputs, timeout_s=call.timeout_s)
        results: dict[int, Any] = {}
        while call_id not in results:
            results = self._calls.wait()
            if call_id not in results and not len(self._calls):
                raise RuntimeError("the environment was closed while it waited for a call")
            for ended in results:  # an interruption may have left calls of other episodes
                self._submitted.pop(ended, None)
        call.deliver(results[call_id], call)

    def _calls_for(self, episodes: Iterable[Episode], *, split: bool) -> Iterator[_Call]:
        """Yield the calls for the waiting ones among the episodes.

        Args:
            episodes: the episodes.
            split: whether each episode gets its own call, where such calls can run at once.
        """
        engine, judge = self.engine, self._judge
        searching, requests, answered = [], [], []
        for episode in episodes:
            if (request := episode.pending) is not None:
                searching.append(episode)
                requests.append(request)
            elif episode.awaits_verdict:
                answered.append(episode)
        if judge is not None and answered:
            transcripts = [episode.transcript() for episode in answered]
            timeout_s = None if judge.in_process else judge.timeout_s
            call = _Call(judge.judge, transcripts, answered, self._deliver_verdicts, timeout_s)
            yield from call.split() if split and judge.thread_safe else (call,)
        if searching:
            timeout_s = None if engine.in_process else self.timeout_s
            call = _Call(self._search, requests, searching, self._deliver_pages, timeout_s)
            yield from call.split() if split and engine.thread_safe else (call,)

    def _search(self, requests: Sequence[SearchRequest]) -> list[Answer] | BudgetExceeded:
        """Return pages or failures, or that the budget is spent."""
        try:
            return search_checked(self.engine, requests)
        except BudgetExceeded as error:
            return error

    def _deliver_pages(self, result: Any, call: _Call) -> None:
        """Give episodes the result of a search: pages, TIMED_OUT or BudgetExceeded."""
        episodes, requests = call.episodes, call.inputs
        costs = self.costs
        costs.batches += 1
        costs.searches += len(single_requests(requests))
        if not isinstance(result, list):
            if isinstance(result, BudgetExceeded):
                raise result
            assert result is TIMED_OUT
            result = [f"timeout: no page within {self.timeout_s} s"] * len(requests)
        for episode, request, page in zip(episodes, requests, result, strict=True):
            if isinstance(page, SearchPage):
                if not page.engine and self.engine.name:
                    page = replace(page, engine=self.engine.name)
                episode.receive(page)
                costs += page.cost
                if len(page.documents) != len(request.expected):
                    costs.short_pages += len(page.documents) < len(request.expected)
                    costs.long_pages += len(page.documents) > len(request.expected)
                continue
            costs.failures += 1
            episode.fail(page if isinstance(page, str) else f"{type(page).__name__}: {page}")

    def _deliver_verdicts(self, result: Any, call: _Call) -> None:
        """Give episodes the result of a judge: verdicts and failures, or TIMED_OUT."""
        if result is TIMED_OUT:
            result = [f"timeout: no verdict within {call.timeout_s} s"] * len(call.episodes)
        for episode, verdict in zip(call.episodes, result, strict=True):
            if isinstance(verdict, str | SearchError):
                episode.fail(f"judge: {verdict}")
            else:
                episode.receive_verdict(verdict)
