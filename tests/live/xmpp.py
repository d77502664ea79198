"""A real XMPP server (prosody) as a child process, and a client that receives messages.

The client uses plain SASL over loopback, which is simpler than TLS.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from contextlib import contextmanager
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

_CONFIG = f"""\
run_as_root = true -- it listens on loopback only
data_path = "{{scratch}}/data"
pidfile = "{{scratch}}/pid"
log = {{{{ info = "{{scratch}}/log" }}}}
modules_enabled = {{{{ "roster", "saslauth" }}}}
modules_disabled = {{{{ "s2s" }}}}
interfaces = {{{{ "127.0.0.1" }}}}
c2s_ports = {{{{ {{port}} }}}}
c2s_direct_tls_ports = {{{{ }}}}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
VirtualHost "{HOST}"
"""


def find_prosody() -> Optional[str]:
    """Return the path of the program, or None."""
    return shutil.which("prosody", path=SYSTEM_PATH)


class XmppError(Exception):
    """The server does not start, or does not respond as expected."""


@contextmanager
def prosody(program: str) -> Iterator[int]:
    """Run a server with its own accounts and data, and yield its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="amiclient-xmpp-") as folder:
        scratch = Path(folder)
        accounts = scratch / "data" / HOST / "accounts"
        accounts.mkdir(parents=True)
        for name, password in ACCOUNTS.items():
            (accounts / f"{name}.dat").write_text(f'return {{ password = "{password}" }}\n')
        (scratch / "prosody.cfg.lua").write_text(_CONFIG.format(scratch=scratch, port=port))
        with (scratch / "console").open("wb") as console:
            process = subprocess.Popen(
                [program, "--config", str(scratch / "prosody.cfg.lua"), "-F"],
                env=system_environment(),
                cwd=scratch,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + _TIMEOUT
            while not _is_listening(port):
                if time.monotonic() > deadline or process.poll() is not None:
                    logs = [path for path in scratch.iterdir() if path.name in ("console", "log")]
                    text = "\n".join([path.read_text("utf-8", "replace") for path in logs])
                    raise XmppError(f"prosody did not start to listen:\n{text}")
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


class XmppClient:
    """A client that is online; messages are read in the order of their arrival."""

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
            self._expect(f"{{{_CLIENT}}}presence")  # after its echo, the server delivers messages
        except BaseException:
            self._socket.close()
            raise

    def next_body(self, timeout: float = _TIMEOUT) -> str:
        """Return the text of the next message; raise TimeoutError if none arrives in time."""
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
            raise XmppError(f"received {features.tag} instead of features")
        return elements

    def _read_elements(self) -> Iterator[Element]:
        """Yield each element below the stream element as soon as it is complete."""
        parser: Any = XMLPullParser(["start", "end"])  # generic for type checkers only
        depth = 0
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise XmppError(f"the server closed the stream of {self._account}")
            parser.feed(data)
            complete: List[Element] = []
            for kind, element in parser.read_events():
                depth += 1 if kind == "start" else -1
                if kind == "end" and depth == 1:
                    complete.append(element)
            yield from complete

    def _expect(self, tag: str) -> Element:
        # Other elements, such as presence, are ignored.
        for element in self._elements:
            if element.tag == tag:
                return element
            if element.tag in (f"{{{_STREAM}}}error", f"{{{_SASL}}}failure"):
                break
        raise XmppError(f"no {tag} for {self._account}")

    def _send(self, text: str) -> None:
        self._socket.sendall(text.encode())


def asterisk_extra(port: int) -> Dict[str, str]:
    """Return configuration files that log Asterisk in as ``asterisk``, in section ``account``."""
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
