"""Which servers there are to test against, and why not where there are none.

Separate from the fixtures because this is decided before any test runs, and without starting one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, NamedTuple, Sequence

from tests import certificates
from tests.live.asterisk import AsteriskServer, installed_version
from tests.live.phone import SipPhone
from tests.live.provision import SUITES, ProvisionError, ensure, is_complete, tree


class Live(NamedTuple):
    """What a live test gets: a running server, and the phone that its ``alice`` leads to."""

    server: AsteriskServer
    phone: SipPhone


class Candidate(NamedTuple):
    """A server to test against; one that cannot be had has a problem."""

    label: str
    place: Path
    problem: str


def candidates(places: Sequence[str], provision: bool) -> List[Candidate]:
    """The servers named, or else those of the cached trees, which ``provision`` completes."""
    if places:
        return _distinct([_inspect(Path(place).resolve()) for place in places])
    return _distinct([_cached(suite, provision) for suite in SUITES])


def _cached(suite: str, provision: bool) -> Candidate:
    root = tree(suite)
    if provision:
        try:
            ensure(suite)
        except ProvisionError as error:
            return Candidate(suite, root, str(error))
    if not is_complete(root):
        hint = "make it with: python3 tests/live/provision.py"
        return Candidate(suite, root, f"there is no Debian {suite} with Asterisk at {root}; {hint}")
    return _inspect(root)


def _inspect(place: Path) -> Candidate:
    if place.is_dir() and os.geteuid() != 0:
        return Candidate(place.name, place, f"only root can run the server in {place}")
    if certificates.PROBLEM:
        return Candidate(place.name, place, certificates.PROBLEM)
    try:
        version = installed_version(place)
    except ProvisionError as error:
        return Candidate(place.name, place, str(error))
    return Candidate(f"asterisk-{version.split('.')[0]}", place, "")


def _distinct(found: List[Candidate]) -> List[Candidate]:
    # Labels name tests, and two servers of one major version must not share a name.
    labels = [candidate.label for candidate in found]
    return [
        one if labels.count(one.label) == 1 else one._replace(label=f"{one.label}-{number}")
        for number, one in enumerate(found, 1)
    ]
