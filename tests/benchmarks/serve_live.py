"""A live Asterisk with a phone, in a process of its own, until standard input ends."""

from __future__ import annotations

import sys

from tests.live.asterisk import AsteriskServer
from tests.live.phone import SipPhone
from tests.live.provision import tree


def main() -> None:
    with SipPhone() as phone, AsteriskServer(tree(sys.argv[1]), phone_port=phone.port) as server:
        print(server.port, "messenger", server.users["messenger"], sep="\t", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
