"""A real XMPP server (prosody) as a child process, and a client that keeps each message it gets.

Separate from the SIP phone because it is another protocol; like it, it knows only what tests need.
The client speaks plain SASL over loopback, which takes less than to configure TLS for a test.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional
from xml.etree.ElementTree import Element, XMLPullParser

from tests.live.provision import SYSTEM_PATH, system_environment

HOST = "localhost"
#: Accounts and their passwords.
ACCOUNTS = {"asterisk": "asterisk-secret", "bob": "bob-secret"}

_TIMEOUT = 20.0

_STREAM = "http://etherx.jabber.org/streams"
_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
_CLIENT = "jabber:client"


def find_prosody() -> Optional[str]:
    """The path of the program, or None."""
    return shutil.which("prosody", path=SYSTEM_PATH)


class XmppError(Exception):
    """The server does not start, or does not speak as expected."""


class Prosody:
    """A server with accounts, data and a port of its own. Of use in a ``with`` block."""

    def __init__(self, program: str) -> None:
        self._program = program
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._scratch = Path(tempfile.mkdtemp(prefix="amiclient-xmpp-"))

    def __enter__(self) -> Prosody:
        try:
            accounts = self._scratch / "data" / HOST / "accounts"
            accounts.mkdir(parents=True)
            for name, password in ACCOUNTS.items():
                (accounts / f"{name}.dat").write_text(f'return {{ password = "{password}" }}\n')
            config = self._scratch / "prosody.cfg.lua"
            config.write_text(self._config())
            with (self._scratch / "console").open("wb") as console:
                self._process = subprocess.Popen(
                    [self._program, "--config", str(config), "-F"],
                    env=system_environment(),
                    cwd=self._scratch,
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                )
            self._await_port()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self._stop()

    def log(self) -> str:
        """What the server logged and printed."""
        paths = (self._scratch / "console", self._scratch / "log")
        return "\n".join([path.read_text("utf-8", "replace") for path in paths if path.exists()])

    def _config(self) -> str:
        return f"""\
run_as_root = true -- as in many a container; it listens on loopback only
data_path = "{self._scratch}/data"
pidfile = "{self._scratch}/pid"
log = {{ info = "{self._scratch}/log" }}
modules_enabled = {{ "roster", "saslauth" }}
modules_disabled = {{ "s2s" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
VirtualHost "{HOST}"
"""

    def _await_port(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        raise XmppError(f"prosody does not listen:\n{self.log()}")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)


class XmppClient:
    """An account that is online; messages are taken in the order they come."""

    def __init__(self, port: int, account: str) -> None:
        self._account = account
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT)
        try:
            self._elements = self._open_stream()
            secret = b64encode(f"\0{account}\0{ACCOUNTS[account]}".encode()).decode()
            self._send(f"<auth xmlns='{_SASL}' mechanism='PLAIN'>{secret}</auth>")
            self._expect(f"{{{_SASL}}}success")
            self._elements = self._open_stream()
            self._send(f"<iq type='set' id='1'><bind xmlns='{_BIND}'/></iq>")
            self._expect(f"{{{_CLIENT}}}iq")
            self._send("<presence/>")
            self._expect(f"{{{_CLIENT}}}presence")  # the server's echo: from here on it delivers
        except BaseException:
            self._socket.close()
            raise

    def next_body(self, timeout: float = _TIMEOUT) -> str:
        """The text of the next message; TimeoutError if none comes in time."""
        self._socket.settimeout(timeout)
        try:
            message = self._expect(f"{{{_CLIENT}}}message")
        except socket.timeout as error:
            raise TimeoutError(f"no message within {timeout} s") from error
        return message.findtext(f"{{{_CLIENT}}}body") or ""

    def close(self) -> None:
        """Go offline."""
        self._socket.close()

    def __enter__(self) -> XmppClient:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _open_stream(self) -> Iterator[Element]:
        self._send(
            f"<?xml version='1.0'?><stream:stream to='{HOST}' version='1.0' xmlns='{_CLIENT}' "
            f"xmlns:stream='{_STREAM}'>"
        )
        elements = self._read_elements()
        features = next(elements)
        if features.tag != f"{{{_STREAM}}}features":
            raise XmppError(f"no features but {features.tag}")
        return elements

    def _read_elements(self) -> Iterator[Element]:
        """Each element below the stream's own, as soon as it is whole."""
        parser: Any = XMLPullParser(["start", "end"])  # generic for type checkers only
        depth = 0
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise XmppError(f"the server closed the stream of {self._account}")
            parser.feed(data)
            whole: List[Element] = []
            for kind, element in parser.read_events():
                depth += 1 if kind == "start" else -1
                if kind == "end" and depth == 1:
                    whole.append(element)
            yield from whole

    def _expect(self, tag: str) -> Element:
        # Whatever else comes in between, presence of others above all, is of no interest.
        for element in self._elements:
            if element.tag == tag:
                return element
            if element.tag in (f"{{{_STREAM}}}error", f"{{{_SASL}}}failure"):
                break
        raise XmppError(f"no {tag} for {self._account}")

    def _send(self, text: str) -> None:
        self._socket.sendall(text.encode())


def asterisk_extra(port: int) -> Dict[str, str]:
    """Configuration files that log Asterisk in as ``asterisk``, under the section ``account``."""
    return {
        "modules.conf": "load = res_xmpp.so\n",
        "xmpp.conf": f"""\
[general]

[account]
type = client
serverhost = 127.0.0.1
username = asterisk@{HOST}/asterisk
secret = {ACCOUNTS["asterisk"]}
port = {port}
usetls = no
usesasl = yes
status = available
timeout = 5
""",
    }
