"""The progress and the summary of a batch, with a clock set by the test."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import List

import pytest

from amiclient.command import batch
from amiclient.command.batch import Progress
from tests.command.shell import Screen

CLEAR = "\r\x1b[K"


class Display:
    """A terminal, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 7_000.0  # time.monotonic() starts anywhere
        self.screen = Screen(is_terminal=True)
        monkeypatch.setattr(batch, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(sys, "stderr", self.screen)

    @property
    def texts(self) -> List[str]:
        return self.screen.seen.split(CLEAR)


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
    monkeypatch: pytest.MonkeyPatch, elapsed: float, outcomes: List[str], size: int,
    position: int, text: str,
) -> None:  # fmt: skip
    display = Display(monkeypatch)
    progress = Progress(size, quiet=False)
    for outcome in outcomes[:-1]:
        progress.count(outcome, False, 1)
    display.now += elapsed
    progress.count(outcomes[-1], False, position)
    assert display.texts[-1] == text


def test_progress_is_updated_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    display = Display(monkeypatch)
    progress = Progress(0, quiet=False)
    for number, pause in enumerate((0.0, 0.1, 0.05, 0.1, 0.1, 0.1, 5.0), start=1):
        display.now += pause
        progress.count("accepted", False, number)
    counts = [text.partition(" accepted")[0] for text in display.texts[1:]]
    assert counts == ["1", "4", "6", "7"]


def test_progress_is_cleared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Display(monkeypatch).screen
    progress = Progress(0, quiet=False)
    progress.clear()
    assert screen.getvalue() == ""
    progress.count("accepted", False, 1)
    before = screen.seen
    progress.clear()
    progress.clear()
    assert screen.seen == before + CLEAR


@pytest.mark.parametrize("elapsed, rate", [(0.0, 4_000_000), (0.5, 8), (2.0, 2), (60.0, 0)])
def test_summary(monkeypatch: pytest.MonkeyPatch, elapsed: float, rate: int) -> None:
    display = Display(monkeypatch)
    progress = Progress(100, quiet=False)
    progress.count("accepted", False, 50)
    progress.count("failed", False, 75)
    progress.count("not_sent", True, 100)
    progress.count("not_sent", True, 100)
    display.now += elapsed
    progress.finish(4)
    assert display.screen.getvalue().split(CLEAR)[-1] == (
        "amisend: 4 lines: 1 accepted, 1 failed, 2 not sent, 2 retryable, 4 skipped "
        f"({rate}/s)\n"
    )
