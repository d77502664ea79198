"""Command line options, hypothesis profiles and the fixtures of several folders."""

from __future__ import annotations

import os
import signal
import sys
from typing import Iterator

import pytest
from hypothesis import HealthCheck, settings

from amiclient.loopback import LoopbackServer

# Imported here so that the certificates are made before pytest-xdist starts its workers.
from tests.certificates import server_tls

# Shells ignore SIGINT in background jobs, and child processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The same for SIGHUP under nohup. The tests themselves go on then.
if signal.getsignal(getattr(signal, "SIGHUP", signal.SIGINT)) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda signum, frame: None)

# No deadline, because a busy machine is not a bug.
for name, max_examples in ("default", 50), ("ci", 100), ("long", 2000):
    settings.register_profile(
        name,
        deadline=None,
        max_examples=max_examples,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("live", "tests with real Asterisk servers")
    group.addoption(
        "--asterisk",
        action="append",
        default=[],
        metavar="ROOT_OR_BINARY",
        help="a server for the live tests, instead of the cached ones: the root folder of a system "
        "with Asterisk, or an asterisk binary; may be repeated. Use --asterisk=PATH, because "
        "pytest would take a separate PATH for one of its own arguments",
    )
    group.addoption(
        "--live",
        choices=("auto", "require"),
        default=os.environ.get("AMICLIENT_LIVE") or "auto",
        help="skip live tests if servers are missing (auto), or fail (require); the default is the "
        "environment variable AMICLIENT_LIVE, or auto",
    )


@pytest.fixture(autouse=True)
def no_current_exception() -> Iterator[None]:
    """Fail after a test that leaves an exception as the current one of the main thread."""
    yield
    assert sys.exc_info() == (None, None, None)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as loopback:
        yield loopback


@pytest.fixture
def secure() -> Iterator[LoopbackServer]:
    with LoopbackServer(tls=server_tls()) as loopback:
        yield loopback
