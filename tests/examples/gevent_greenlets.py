"""The blocking client in gevent greenlets, one client in each and one client in all.

The arguments are the port, the user, the secret and the number of greenlets.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import gevent  # noqa: E402

from amiclient import Client  # noqa: E402


def main(port: str, username: str, secret: str, count: str) -> None:
    def send(number: int) -> str:
        with Client(port=int(port), username=username, secret=secret) as client:
            client.ping()
            return client.send_message("pjsip:a", f"number {number}\n").outcome

    jobs = [gevent.spawn(send, number) for number in range(int(count))]
    gevent.joinall(jobs, raise_error=True)
    print(len(jobs), *{job.value for job in jobs})
    with Client(port=int(port), username=username, secret=secret) as shared:

        def send_shared(number: int) -> str:
            return shared.send_message("pjsip:b", str(number)).outcome

        jobs = [gevent.spawn(send_shared, number) for number in range(int(count))]
        gevent.joinall(jobs, raise_error=True)
        print(len(jobs), *{job.value for job in jobs})


if __name__ == "__main__":
    main(*sys.argv[1:])
