"""The scripted server of the tests: a check of it that fails, fails the test."""

from __future__ import annotations

from typing import Sequence

import pytest

from amiclient import MessageSend
from tests.faults import client_of, opened
from tests.script import Script, Step, expect, expect_end, log_in, nothing_comes, read


@pytest.mark.parametrize(
    "steps",
    [(expect("Ping"),), (nothing_comes(5.0),), (read, nothing_comes(0.1)), (expect_end,)],
    ids=["another action", "something", "something more", "no end"],
)
def test_a_step_that_finds_something_else(steps: Sequence[Step]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        with Script(log_in, *steps) as script, opened(client_of(script.port)) as client:
            list(client.send_messages([MessageSend("sip:a", text) for text in "ab"]))
