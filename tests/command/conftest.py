"""What all tests of the command start from: a server that behaves, and a way to run it."""

from __future__ import annotations

from typing import Iterator

import pytest

from amiclient.loopback import LoopbackServer
from tests.command.shell import Runner


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as loopback:
        yield loopback


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)
