"""The parts of the command ``amisend``, which :mod:`amiclient.__main__` calls in order.

``options`` is the command line, with the exit codes and the errors of the command; ``config`` finds
the server, the user and the secret, and makes the client; ``signals`` handles SIGHUP, SIGINT and
SIGTERM.
``send`` sends one text to the recipients on the command line. ``batch`` sends a file of messages,
which ``records`` reads.
"""
