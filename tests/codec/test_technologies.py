"""The registry of technologies: what a target has to name, and how another one is added."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import amiproto
from amiproto import Banner, InvalidAddress, MessageSend
from amiproto.messaging.technology import TECHNOLOGIES


@pytest.mark.parametrize("target", ["other:a?b ", "mystery-2.x:alice", "Other:x"])
def test_an_unknown_technology_has_the_rules_of_ami(target: str) -> None:
    message = MessageSend(target, "x", "<sip:x:y@z:1;a=b>")
    message.check_server(Banner("11.0.0"))
    assert message.to == target
    with pytest.raises(InvalidAddress, match="knows no Destination"):
        MessageSend("zoe", "x", destination=target).check_server(Banner("1.3"))


def test_each_technology_has_a_name_of_its_own() -> None:
    names = [technology.name for technology in TECHNOLOGIES.values()]
    assert len(set(names)) == len(names) and all(name.islower() for name in names)


_SMOKE = '''
"""Messages by smoke signal: ``smoke:hill``."""

from __future__ import annotations

from ..errors import InvalidBody
from .technology import Technology


class Smoke(Technology):
    """``smoke:`` (seen from the next hill)."""

    __slots__ = ()
    name = "smoke"

    def check_body(self, body: bytes) -> None:
        """Refuse what takes too long."""
        super().check_body(body)
        if len(body) > 3:
            raise InvalidBody("smoke carries three letters; send fewer", field="Body")
'''

_ASK = """
from amiproto import InvalidBody, MessageSend
print(MessageSend("smoke:hill", "SOS").technology)
for text in ("four", "\\0"):
    try:
        MessageSend("smoke:hill", text)
    except InvalidBody as error:
        print(error)
print(MessageSend("pjsip:alice", "four").technology)
"""


def test_a_new_technology_is_a_file_and_a_place_in_the_registry(tmp_path: Path) -> None:
    package = tmp_path / "amiproto"
    shutil.copytree(Path(amiproto.__file__ or "").parent, package)
    (package / "messaging/smoke.py").write_text(_SMOKE)
    registry = package / "messaging/technologies.py"
    text = registry.read_text("utf-8")
    text = text.replace(
        "from .sip import SIP\n", "from .sip import SIP\nfrom .smoke import Smoke\n"
    )
    registry.write_text(text.replace("    SIP(),\n", "    SIP(),\n    Smoke(),\n"), "utf-8")
    answer = subprocess.run(
        [sys.executable, "-c", _ASK], cwd=tmp_path, stdout=subprocess.PIPE, check=True, timeout=60
    )
    assert answer.stdout.decode().splitlines() == [
        "smoke",
        "smoke carries three letters; send fewer",
        "the text holds a NUL, where the server would cut it off; remove it",
        "pjsip",
    ]
