"""Options of the test run; here, because pytest takes options only from the topmost conftest,
and because every hypothesis test has the same profile."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Imported here so that the certificates are made before pytest-xdist starts its workers.
import tests.certificates  # noqa: F401

# In the background of a shell SIGINT is ignored, and would be by every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline, because a busy machine is not a bug.
for name, max_examples in ("default", 100), ("long", 2000):
    settings.register_profile(
        name,
        deadline=None,
        max_examples=max_examples,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("live", "tests against real Asterisk servers")
    group.addoption(
        "--asterisk",
        action="append",
        default=[],
        metavar="ROOT_OR_BINARY",
        help="a server for the live tests, in place of the cached ones: the root folder of a "
        "system with Asterisk in it, or an asterisk binary; may be given more than once. Write "
        "--asterisk=PATH in one word, or pytest takes the path for one of its own",
    )
    group.addoption(
        "--live",
        choices=("auto", "require", "provision"),
        default=os.environ.get("AMICLIENT_LIVE") or "auto",
        help="what to do about missing servers: leave their tests out (auto), fail them (require), "
        "or make the servers, and fail if that does not work (provision); default: the "
        "environment's AMICLIENT_LIVE, or auto",
    )
