"""The deadline of a call."""

from __future__ import annotations

import time
from typing import Optional

import pytest

from amiclient._transport import Deadline, Expired


def test_what_remains_only_shrinks_and_never_below_nothing() -> None:
    deadline = Deadline(0.05)
    before = deadline.remaining()
    time.sleep(0.01)
    after = deadline.remaining()
    assert before is not None and after is not None and 0.0 < after < before <= 0.05
    time.sleep(0.05)
    assert deadline.remaining() == 0.0


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("-inf"), float("nan")])
def test_a_deadline_in_the_past_allows_one_look(timeout: float) -> None:
    deadline = Deadline(timeout)
    assert deadline.remaining() == 0.0
    assert deadline.next_wait() == 0.0
    for _ in range(2):
        with pytest.raises(Expired):
            deadline.next_wait()


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e300, 2_000_000.0])
def test_no_deadline_and_one_past_all_that_systems_can_wait_for(timeout: Optional[float]) -> None:
    deadline = Deadline(timeout)
    assert deadline.remaining() is None
    assert deadline.next_wait() is None
    assert deadline.next_wait() is None


def test_waits_before_the_end_are_not_counted() -> None:
    deadline = Deadline(60.0)
    for _ in range(5):
        left = deadline.next_wait()
        assert left is not None and 59.0 < left <= 60.0


def test_time_in_the_caller_s_code_is_added() -> None:
    for timeout in (0.05, None):
        deadline = Deadline(timeout)
        time.sleep(0.06)
        deadline.postpone(60.0)
        left = deadline.remaining()
        assert left is None if timeout is None else left is not None and 59.0 < left < 60.0
