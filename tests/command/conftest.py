"""Fixtures for the tests of the command."""

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
