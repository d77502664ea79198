# mypy: ignore-errors
"""Greenlets over the blocking client; run with a port, a user, a secret and their number."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import gevent  # noqa: E402

from amiclient import Client  # noqa: E402


def main(port, username, secret, count):
    def talk(number):
        with Client(port=int(port), username=username, secret=secret) as client:
            client.ping()
            return client.send_message("pjsip:a", f"number {number}\n").outcome

    jobs = [gevent.spawn(talk, number) for number in range(int(count))]
    gevent.joinall(jobs, raise_error=True)
    print(len(jobs), *{job.value for job in jobs})
    with Client(port=int(port), username=username, secret=secret) as shared:

        def by_all(number):
            return shared.send_message("pjsip:b", str(number)).outcome

        jobs = [gevent.spawn(by_all, number) for number in range(int(count))]
        gevent.joinall(jobs, raise_error=True)
        print(len(jobs), *{job.value for job in jobs})


if __name__ == "__main__":
    main(*sys.argv[1:])
