"""Every field of a message goes through every way to send one, and is found on the wire.

The tests iterate over the fields of MessageFields, so that a new field fails here until each of
these ways carries it; ``VALUES`` gets its value first.
"""

from __future__ import annotations

import csv
import inspect
import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from amiclient import Client, MessageSend
from amiclient.__main__ import main
from amiclient.loopback import LoopbackServer
from amiproto import Action, parse_message_send
from amiproto.messaging import HEADERS, field_keys
from tests.command.shell import environment

#: The arguments of MessageSend.
VALUES: Dict[str, Any] = {
    "to": "pjsip:alice",
    "body": "Someone is at the door",
    "from_": "Door <sip:door@example.org>",
    "variables": {"X-Door": "front"},
    "destination": "pjsip:alice",
}
REQUIRED = ("to", "body")  # which a line of a batch and a message of the command must have

#: The value of the header, unless the argument is that text.
_LINES = {"variables": "X-Door=front"}


def arguments_with(name: str) -> Dict[str, Any]:
    """Return the least arguments that have this field."""
    return {key: value for key, value in VALUES.items() if key in (*REQUIRED, name)}


def options_of(values: Dict[str, Any]) -> List[str]:
    """Return options of the command, which are named after the headers."""
    return [f"--{HEADERS[name].lower()}={_LINES.get(name, values[name])}" for name in values]


KEYS = {argument: key for key, argument in field_keys().items()}


def batch_json(values: Dict[str, Any], path: Path) -> List[str]:
    path.write_text(json.dumps({KEYS[name]: value for name, value in values.items()}))
    return ["--batch", str(path)]


def batch_csv(values: Dict[str, Any], path: Path) -> List[str]:
    row = {}
    for name, value in values.items():
        if name == "variables":
            row.update({f"variable:{variable}": text for variable, text in value.items()})
        else:
            row[KEYS[name]] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    return ["--batch", str(path)]


def batch_defaults(values: Dict[str, Any], path: Path) -> List[str]:
    """The line has the target alone; the options have the rest."""
    options = {name: value for name, value in values.items() if name != "to"}
    return [*options_of(options), *batch_json({"to": values["to"]}, path)]


Door = Callable[[Client, Dict[str, Any], Path], object]

DOORS: Dict[str, Door] = {
    "send": lambda client, values, path: client.send(MessageSend(**values)),
    "send_message": lambda client, values, path: client.send_message(**values),
    "send_messages": lambda client, values, path: list(client.send_messages([values])),
    "options": lambda client, values, path: main(options_of(values)),
    "JSON": lambda client, values, path: main(batch_json(values, path)),
    "CSV": lambda client, values, path: main(batch_csv(values, path)),
    "defaults": lambda client, values, path: main(batch_defaults(values, path)),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("door", DOORS)
def test_field_is_sent_and_read_back(
    server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str, name: str
) -> None:
    for variable, text in environment(server.port).items():
        monkeypatch.setenv(variable, text)
    values = arguments_with(name)
    with Client(port=server.port, username="loopback", secret="loopback") as client:
        DOORS[door](client, values, tmp_path / "batch")
    (received,) = server.messages
    line = f"\r\n{HEADERS[name]}: {_LINES.get(name, values[name])}\r\n"
    assert line.encode() in received.wire
    message = parse_message_send(Action.from_wire(received.wire))
    expected = MessageSend(**values).fields
    assert message.fields == expected
    for found in (message, received):
        assert getattr(found, name) == getattr(expected, name)


def test_every_field_has_a_value_here_and_a_header() -> None:
    assert list(HEADERS) == list(VALUES)
    assert len(set(HEADERS.values())) == len(HEADERS)
    for function in (MessageSend.__init__, Client.send_message):
        assert list(inspect.signature(function).parameters)[1 : len(HEADERS) + 1] == list(VALUES)
