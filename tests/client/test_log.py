"""Logging: where the program does, and nowhere else."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import ModuleType

import pytest

from amiclient import log
from tests.readme import ROOT


def test_a_line_comes_out_where_the_program_logs(caplog: pytest.LogCaptureFixture) -> None:
    log.debug("not %s", "shown")
    caplog.set_level(logging.DEBUG, "amiclient")
    log.debug("%s and %s", 1, 2)
    assert [record.getMessage() for record in caplog.records] == ["1 and 2"]
    assert caplog.records[0].name == "amiclient"


def test_a_program_that_does_not_log_is_not_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "logging")
        log.debug("into the void")
        assert "logging" not in sys.modules
        patch.setitem(sys.modules, "logging", ModuleType("logging"))  # its import has just begun
        log.debug("into the void")
    code = "import sys, amiclient; sys.exit('logging' in sys.modules)"
    assert subprocess.call([sys.executable, "-c", code], cwd=ROOT) == 0
