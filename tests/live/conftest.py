"""Fixtures of the live tests: a test that uses ``live`` runs once for each server."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest

from tests.live.asterisk import AsteriskServer
from tests.live.delivery import require
from tests.live.phone import SipPhone
from tests.live.servers import Candidate, Live, candidates

_HERE = Path(__file__).resolve().parent
_FOUND = pytest.StashKey[List[Candidate]]()
_SKIPPED = pytest.StashKey[List[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    # This sees the items of the whole run, before -m selects among them.
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("live")
    # Deselected rather than skipped: a thousand skips would hide the one that matters.
    without = [item for item in items if _problem_of(item)]
    if without and _may_skip(config):
        items[:] = [item for item in items if not _problem_of(item)]
        config.hook.pytest_deselected(items=without)
        config.stash[_SKIPPED] = sorted({_problem_of(item) for item in without})


def pytest_report_collectionfinish(config: pytest.Config) -> List[str]:
    problems = config.stash.get(_SKIPPED, [])
    return [f"live tests skipped: {'; '.join(problems)}"] if problems else []


def _problem_of(item: pytest.Item) -> str:
    """Return why the server of a test is unavailable, or an empty string."""
    callspec = getattr(item, "callspec", None)
    candidate = callspec.params.get("live") if callspec is not None else None
    return candidate.problem if isinstance(candidate, Candidate) else ""


def _may_skip(config: pytest.Config) -> bool:
    # If servers were requested, a test that did not run must not look like one that passed.
    return config.getoption("--live") == "auto" and not config.getoption("--asterisk")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "live" not in metafunc.fixturenames:
        return
    stash = metafunc.config.stash
    if _FOUND not in stash:
        stash[_FOUND] = candidates(metafunc.config.getoption("--asterisk"))
    found = stash[_FOUND]
    labels = [candidate.label for candidate in found]
    metafunc.parametrize("live", found, ids=labels, indirect=True, scope="session")


@pytest.fixture(scope="session")
def start_live() -> Iterator[Callable[[Candidate], Live]]:
    """Return a function that starts a server once; all stop at the end of the session."""
    running: Dict[Candidate, Live] = {}
    with ExitStack() as stack:

        def start(candidate: Candidate) -> Live:
            if candidate not in running:
                phone = stack.enter_context(SipPhone())
                server = AsteriskServer(candidate.place, phone_port=phone.port)
                running[candidate] = Live(stack.enter_context(server), phone)
            return running[candidate]

        yield start


@pytest.fixture(scope="session")
def live(request: pytest.FixtureRequest, start_live: Callable[[Candidate], Live]) -> Live:
    """A running server and its phone."""
    candidate: Candidate = request.param
    if candidate.problem:
        pytest.fail(candidate.problem, pytrace=False)
    return start_live(candidate)


@pytest.fixture(params=["sip", "pjsip"])
def technology(request: pytest.FixtureRequest, live: Live) -> str:
    """A SIP technology of the server; a test that uses it runs once for each."""
    require(live, request.param)
    return str(request.param)


@pytest.fixture(autouse=True)
def _quiet_phone(request: pytest.FixtureRequest) -> None:
    # A message that arrives late must not be taken for one of the next test.
    if "live" in request.fixturenames:
        live: Live = request.getfixturevalue("live")
        live.phone.drain()
