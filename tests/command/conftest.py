"""Fixtures for the tests of the command."""

from __future__ import annotations

import pytest

from tests.command.shell import Runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)
