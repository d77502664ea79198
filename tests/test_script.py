"""A failed check in a step of the scripted server fails the test."""

from __future__ import annotations

from typing import Sequence

import pytest

from amiclient import MessageSend
from tests.faults import client_of, opened
from tests.script import Script, Step, expect, expect_eof, expect_silence, log_in, read


@pytest.mark.parametrize(
    "steps",
    [(expect("Ping"),), (expect_silence(5.0),), (read, expect_silence(0.1)), (expect_eof,)],
    ids=["action", "silence", "silence after action", "eof"],
)
def test_failed_step_fails_test(steps: Sequence[Step]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        with Script(log_in, *steps) as script, opened(client_of(script.port)) as client:
            list(client.send_messages([MessageSend("pjsip:a", text) for text in "ab"]))
