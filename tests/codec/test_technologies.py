"""The registry of technologies, and how another one is added."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import amiproto
from amiproto import Banner, InvalidAddress, MessageSend
from amiproto.messaging.technology import TECHNOLOGIES, Technology


@pytest.mark.parametrize("target", ["other:a?b ", "mystery-2.x:alice", "Other:x"])
def test_unknown_technology_has_the_rules_of_ami(target: str) -> None:
    message = MessageSend(target, "x", "<sip:x:y@z:1;a=b>")
    message.check_server(Banner("11.0.0"))
    assert message.to == target
    with pytest.raises(InvalidAddress) as caught:
        MessageSend("zoe", "x", destination=target).check_server(Banner("1.3"))
    assert caught.value.field == "Destination"


def test_each_technology_is_registered_under_its_name() -> None:
    assert sorted(TECHNOLOGIES) == ["pjsip", "sip", "xmpp"]
    assert [technology.name for technology in TECHNOLOGIES.values()] == list(TECHNOLOGIES)


def test_name_with_special_characters_of_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plus(Technology):
        name = "x+++"

    monkeypatch.setitem(TECHNOLOGIES, Plus.name, Plus())
    assert MessageSend("x+++:alice", "x").technology == "x+++"
    with pytest.raises(InvalidAddress):
        MessageSend("x+++ alice", "x")


_SMOKE = '''
"""Messages by smoke signal: ``smoke:hill``."""

from ..exceptions import InvalidBody
from .technology import Technology, register


@register
class Smoke(Technology):
    """``smoke:`` (seen from the next hill)."""

    name = "smoke"

    def check(self, fields):
        """Reject also long messages."""
        fields = super().check(fields)
        if len(fields.body) > 3:
            raise InvalidBody("body is too long for smoke", field="Body", limit=3)
        return fields
'''

_ASK = """
from amiproto import InvalidBody, MessageSend
print(MessageSend("smoke:hill", "SOS").technology)
for text in ("four", "\\0"):
    try:
        MessageSend("smoke:hill", text)
    except InvalidBody as error:
        print(error.field, error.limit)
print(MessageSend("pjsip:alice", "four").technology)
"""


def test_a_new_technology_is_one_file_and_its_import(tmp_path: Path) -> None:
    package = tmp_path / "amiproto"
    shutil.copytree(Path(amiproto.__file__ or "").parent, package)
    (package / "messaging/smoke.py").write_text(_SMOKE)
    registry = package / "messaging/__init__.py"
    text = registry.read_text("utf-8")
    assert "import chan_sip, " in text
    registry.write_text(text.replace("import chan_sip, ", "import chan_sip, smoke, "), "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _ASK], cwd=tmp_path, stdout=subprocess.PIPE, check=True, timeout=60
    )
    assert done.stdout.decode().splitlines() == ["smoke", "Body 3", "Body None", "pjsip"]
