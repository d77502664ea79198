"""Two unrelated self-signed certificates for localhost, made once per test run.

Each is its own CA. The folder is handed to child processes by an environment variable, so that the
workers of pytest-xdist agree on the paths.
"""

from __future__ import annotations

import atexit
import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

_VARIABLE = "AMICLIENT_TEST_CERTIFICATES"

#: Python 3.13 and later verify strictly: a CA needs these extensions.
_CONFIGURATION = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
commonName = localhost
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
"""


def _make() -> Path:
    made = os.environ.get(_VARIABLE)
    if made and Path(made).is_dir():
        return Path(made)
    folder = Path(tempfile.mkdtemp(prefix="amiclient-certificates-"))
    atexit.register(_remove, folder, os.getpid())
    os.environ[_VARIABLE] = str(folder)
    configuration = folder / "openssl.cnf"
    configuration.write_text(_CONFIGURATION, "ascii")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-config", str(configuration)]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    for name in ("server", "other"):
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run([*command, *files], check=True, stderr=subprocess.DEVNULL)
    return folder


def _remove(folder: Path, owner: int) -> None:
    # A forked child inherits the exit handlers.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


#: The reason if certificates cannot be made, or an empty string.
PROBLEM = "" if shutil.which("openssl") else "needs the openssl command, to make certificates"

_FOLDER = Path(os.devnull) if PROBLEM else _make()
SERVER_PEM = str(_FOLDER / "server.pem")
SERVER_KEY = str(_FOLDER / "server.key")
OTHER_PEM = str(_FOLDER / "other.pem")

needs_certificates = pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM)


def server_tls() -> ssl.SSLContext:
    """Return a server's context with the first certificate; skip the test without openssl."""
    if PROBLEM:
        pytest.skip(PROBLEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER_PEM, SERVER_KEY)
    return context
