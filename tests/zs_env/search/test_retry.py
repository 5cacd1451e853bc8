"""Failures are repeated with growing pauses, unless they are final."""

import pytest

from zs_env.search.retry import RequestFailed, RetryPolicy, is_final


def test_temporary_failures_are_repeated_until_the_tries_are_used_up():
    failures = [RequestFailed("status 500"), RequestFailed("timeout")]

    def send():
        if failures:
            raise failures.pop()
        return "answer"

    assert RetryPolicy(max_tries=3, backoff_s=0.001).call(send) == "answer"
    failures += [RequestFailed("first"), RequestFailed("last"), RequestFailed("first")]
    with pytest.raises(RequestFailed, match="last"):
        RetryPolicy(max_tries=2, backoff_s=0.001).call(send)
    assert len(failures) == 1


def test_a_final_failure_is_not_repeated():
    sent = []

    def send():
        sent.append(1)
        raise RequestFailed("status 401", "no key", final=True)

    with pytest.raises(RequestFailed, match="status 401: no key"):
        RetryPolicy().call(send)
    assert len(sent) == 1


def test_pauses_double_up_to_a_bound():
    policy = RetryPolicy(backoff_s=0.5, max_backoff_s=3.0)
    assert policy.pause_s(0) == 0.0
    for attempt, longest in ((1, 1.0), (2, 2.0), (3, 3.0), (9, 3.0)):
        assert all(0.0 <= policy.pause_s(attempt) <= longest for _ in range(50))
    with pytest.raises(ValueError, match="max_tries must be at least 1"):
        RetryPolicy(max_tries=0)


def test_statuses_that_may_pass_are_not_final():
    assert [is_final(status) for status in (302, 400, 401, 404)] == [True] * 4
    assert [is_final(status) for status in (408, 425, 429, 500, 503)] == [False] * 5
