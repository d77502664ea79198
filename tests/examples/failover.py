from time import monotonic

from amiclient import AMIError, Client, LocalProtocolError, MessageSend, NotSent, Receipt


class Failover:
    """Send each message through the first of several servers that works."""

    def __init__(self, *clients: Client, rest: float = 30.0) -> None:
        self._rest = rest  # seconds
        self._resting = dict.fromkeys(clients, 0.0)  # until when; 0 if the last call worked

    def send(self, message: MessageSend) -> Receipt:
        error: AMIError = NotSent("no client was given")
        now, resting = monotonic(), self._resting
        for client in sorted(resting, key=lambda one: max(now, resting[one])):
            if resting[client] > now and error.outcome == "failed":
                break  # a resting server is tried only if no other one responds
            if resting[client]:
                resting[client] = now + self._rest  # other threads do not wait for it meanwhile
            try:
                receipt = client.send(message)
                resting[client] = 0.0
                return receipt
            except LocalProtocolError:
                raise
            except AMIError as caught:
                error = caught
            resting[client] = 0.0 if error.outcome == "failed" else monotonic() + self._rest
            if error.outcome != "not_sent" and not error.retryable:
                break
        raise error
