"""Loopback servers for the tests of the client."""

from __future__ import annotations

from typing import Iterator

import pytest

from amiclient.loopback import LoopbackServer
from tests.certificates import server_tls


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as loopback:
        yield loopback


@pytest.fixture
def secure() -> Iterator[LoopbackServer]:
    with LoopbackServer(tls=server_tls()) as loopback:
        yield loopback
