"""The servers to test against, found before any test runs and without starting one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Mapping, NamedTuple, Optional, Sequence

from tests import certificates
from tests.live.asterisk import AsteriskServer
from tests.live.phone import SipPhone
from tests.live.provision import SUITES, ProvisionError, asterisk_version, is_complete, tree


class Live(NamedTuple):
    """A running server, and the phone behind its endpoint ``alice``."""

    server: AsteriskServer
    phone: SipPhone

    @property
    def technology(self) -> str:
        """The technology of tests that need any one: pjsip if the server has it, or else sip."""
        return "pjsip" if "pjsip" in self.server.technologies else "sip"

    @property
    def to(self) -> str:
        """The address of the phone."""
        return f"{self.technology}:alice"

    def another_server(self, extra: Optional[Mapping[str, str]] = None) -> AsteriskServer:
        """Return a server like this one, not started, with the same phone."""
        return AsteriskServer(self.server.place, phone_port=self.phone.port, extra=extra)


class Candidate(NamedTuple):
    """A server to test against, or the problem that makes it unavailable."""

    label: str
    place: Path
    problem: str


def candidates(places: Sequence[str]) -> List[Candidate]:
    """Return the servers at these places, or else those of the cached trees."""
    if places:
        return _distinct([_inspect(Path(place).resolve()) for place in places])
    return _distinct([_cached(suite) for suite in SUITES])


def _cached(suite: str) -> Candidate:
    root = tree(suite)
    if not is_complete(root):
        hint = "make it with: python3 tests/live/provision.py"
        return Candidate(suite, root, f"no Debian {suite} with Asterisk at {root}; {hint}")
    return _inspect(root)


def _inspect(place: Path) -> Candidate:
    if place.is_dir() and os.geteuid() != 0:
        return Candidate(place.name, place, f"only root can run the server in {place}")
    if certificates.PROBLEM:
        return Candidate(place.name, place, certificates.PROBLEM)
    try:
        version = asterisk_version(place)
    except ProvisionError as error:
        return Candidate(place.name, place, str(error))
    return Candidate(f"asterisk-{version.split('.')[0]}", place, "")


def _distinct(found: List[Candidate]) -> List[Candidate]:
    # Labels are parts of test ids, so they must differ for two servers of one major version.
    labels = [candidate.label for candidate in found]
    return [
        one if labels.count(one.label) == 1 else one._replace(label=f"{one.label}-{number}")
        for number, one in enumerate(found, 1)
    ]
