"""What is shown of a batch while it goes on, by a clock that the test turns."""

from __future__ import annotations

import sys
from typing import Callable, List

import pytest

from amiclient.command import batch as progress
from amiclient.command.batch import Progress
from tests.command.shell import Screen

_CLEARED = "\r\x1b[K"

Start = Callable[[int], Progress]


class _Clock:
    """A clock that starts anywhere, as ``time.monotonic`` does, and stands still."""

    def __init__(self) -> None:
        self.now = 7_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def screen() -> Screen:
    return Screen(is_terminal=True)


@pytest.fixture
def start(clock: _Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Start:
    """What starts to show a batch of so many bytes; pytest has stderr until the test runs."""

    def start(size: int) -> Progress:
        monkeypatch.setattr(sys, "stderr", screen)
        return Progress(size, quiet=False)

    return start


@pytest.mark.parametrize(
    ("elapsed", "outcomes", "size", "position", "text"),
    [
        (0.5, ["accepted"] * 4, 0, 10, "4 sent, 0 failed, 8 a second"),
        (2.0, ["accepted", "failed", "accepted", "unknown"], 0, 10,
         "2 sent, 2 failed, 2 a second"),
        (2.0, ["not_sent"] * 4, 100, 0, "0 sent, 4 failed, 2 a second"),
        (4.0, ["accepted"] * 2, 100, 40, "2 sent, 0 failed, 0 a second, 0:06 left"),
        (119.0, ["accepted"], 100, 50, "1 sent, 0 failed, 0 a second, 1:59 left"),
        (200.0, ["accepted"], 100, 25, "1 sent, 0 failed, 0 a second, 10:00 left"),
        (9.0, ["accepted"] * 9, 100, 100, "9 sent, 0 failed, 1 a second, 0:00 left"),
    ],
)  # fmt: skip
def test_rate_and_time_left(
    start: Start, clock: _Clock, screen: Screen, elapsed: float, outcomes: List[str],
    size: int, position: int, text: str,
) -> None:  # fmt: skip
    shown = start(size)
    for outcome in outcomes[:-1]:
        shown.count(outcome, False, 1)
    clock.now += elapsed
    shown.count(outcomes[-1], False, position)
    assert screen.seen.split(_CLEARED)[-1] == text


def test_a_line_is_shown_at_once_and_then_after_pauses(
    start: Start, clock: _Clock, screen: Screen
) -> None:
    shown = start(0)
    for number, pause in enumerate((0.0, 0.1, 0.05, 0.1, 0.1, 0.1, 5.0), start=1):
        clock.now += pause
        shown.count("accepted", False, number)
    numbers = [line.partition(" sent")[0] for line in screen.seen.split(_CLEARED)[1:]]
    assert numbers == ["1", "4", "6", "7"]


def test_what_was_shown_is_cleared_once(start: Start, screen: Screen) -> None:
    shown = start(0)
    shown.clear()
    assert screen.getvalue() == ""
    shown.count("accepted", False, 1)
    before = screen.seen
    shown.clear()
    shown.clear()
    assert screen.seen == before + _CLEARED


@pytest.mark.parametrize("elapsed, rate", [(0.0, 3_000_000), (0.5, 6), (2.0, 2), (60.0, 0)])
def test_the_end_tells_of_all(
    start: Start, clock: _Clock, screen: Screen, elapsed: float, rate: int
) -> None:
    shown = start(100)
    shown.count("accepted", False, 50)
    shown.count("failed", False, 75)
    shown.count("failed", True, 100)
    clock.now += elapsed
    shown.end(4)
    assert screen.getvalue().split(_CLEARED)[-1] == (
        "amisend: 3 lines: 1 accepted, 2 refused, 1 may go again, 4 passed over "
        f"({rate} a second)\n"
    )
