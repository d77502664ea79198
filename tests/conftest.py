"""Options of the test run; here, because pytest takes options only from the topmost conftest,
and because every hypothesis test has the same profile."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, Phase, settings

# In the background of a shell SIGINT is ignored, and would be by every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a loaded machine is not a bug. HYPOTHESIS_PROFILE=long looks twenty times as far.
_SLOW_CALLER = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default", deadline=None, suppress_health_check=_SLOW_CALLER, max_examples=100
)
settings.register_profile(
    "long", deadline=None, suppress_health_check=_SLOW_CALLER, max_examples=2000
)
# For tests/mutants.py: what is found is not made small, and a fault is found or not, each time.
settings.register_profile(
    "mutants", deadline=None, suppress_health_check=list(HealthCheck), max_examples=40,
    phases=[Phase.explicit, Phase.generate], derandomize=True, database=None,
)  # fmt: skip
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
