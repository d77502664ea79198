"""The progress and the summary of a batch, with a clock set by the test."""

from __future__ import annotations

import sys
from typing import Callable, List

import pytest

from amiclient.command import batch
from amiclient.command.batch import Progress
from tests.command.shell import Screen

_CLEARED = "\r\x1b[K"

Start = Callable[[int], Progress]


class _Clock:
    """A clock that stands still and, as ``time.monotonic`` may, starts anywhere."""

    def __init__(self) -> None:
        self.now = 7_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(batch, "time", clock)
    return clock


@pytest.fixture
def screen() -> Screen:
    return Screen(is_terminal=True)


@pytest.fixture
def start(clock: _Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A function that starts the progress of an input of a given size."""

    def start(size: int) -> Progress:
        # In the test, because pytest replaces stderr between the fixtures and the test.
        monkeypatch.setattr(sys, "stderr", screen)
        return Progress(size, quiet=False)

    return start


@pytest.mark.parametrize(
    ("elapsed", "outcomes", "size", "position", "text"),
    [
        (0.5, ["accepted"] * 4, 0, 10, "4 accepted, 0 errors, 8/s"),
        (2.0, ["accepted", "failed", "accepted", "unknown"], 0, 10,
         "2 accepted, 2 errors, 2/s"),
        (2.0, ["not_sent"] * 4, 100, 0, "0 accepted, 4 errors, 2/s"),
        (4.0, ["accepted"] * 2, 100, 40, "2 accepted, 0 errors, 0/s, 0:06 remaining"),
        (119.0, ["accepted"], 100, 50, "1 accepted, 0 errors, 0/s, 1:59 remaining"),
        (200.0, ["accepted"], 100, 25, "1 accepted, 0 errors, 0/s, 10:00 remaining"),
        (9.0, ["accepted"] * 9, 100, 100, "9 accepted, 0 errors, 1/s, 0:00 remaining"),
    ],
)  # fmt: skip
def test_rate_and_remaining_time(
    start: Start, clock: _Clock, screen: Screen, elapsed: float, outcomes: List[str],
    size: int, position: int, text: str,
) -> None:  # fmt: skip
    progress = start(size)
    for outcome in outcomes[:-1]:
        progress.count(outcome, False, 1)
    clock.now += elapsed
    progress.count(outcomes[-1], False, position)
    assert screen.seen.split(_CLEARED)[-1] == text


def test_progress_is_updated_at_intervals(start: Start, clock: _Clock, screen: Screen) -> None:
    progress = start(0)
    for number, pause in enumerate((0.0, 0.1, 0.05, 0.1, 0.1, 0.1, 5.0), start=1):
        clock.now += pause
        progress.count("accepted", False, number)
    counts = [text.partition(" accepted")[0] for text in screen.seen.split(_CLEARED)[1:]]
    assert counts == ["1", "4", "6", "7"]


def test_progress_is_cleared_once(start: Start, screen: Screen) -> None:
    progress = start(0)
    progress.clear()
    assert screen.getvalue() == ""
    progress.count("accepted", False, 1)
    before = screen.seen
    progress.clear()
    progress.clear()
    assert screen.seen == before + _CLEARED


@pytest.mark.parametrize("elapsed, rate", [(0.0, 4_000_000), (0.5, 8), (2.0, 2), (60.0, 0)])
def test_summary(start: Start, clock: _Clock, screen: Screen, elapsed: float, rate: int) -> None:
    progress = start(100)
    progress.count("accepted", False, 50)
    progress.count("failed", False, 75)
    progress.count("not_sent", True, 100)
    progress.count("not_sent", True, 100)
    clock.now += elapsed
    progress.finish(4)
    assert screen.getvalue().split(_CLEARED)[-1] == (
        "amisend: 4 lines: 1 accepted, 1 failed, 2 not sent, 2 retryable, 4 skipped "
        f"({rate}/s)\n"
    )
