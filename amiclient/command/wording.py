"""An error told to a shell: options in place of the arguments that Python programs give."""

from __future__ import annotations

from amiproto import AMIError

#: The option that stands for what an error calls its field.
_OPTIONS = {
    "To": "--to", "From": "--from", "Body": "--body", "Variable": "--variable",
    "Destination": "--destination", "host": "--host", "port": "--port", "Secret": "--secret-file",
    "Username": "--username", "tls": "--cafile",
}  # fmt: skip

#: What sentences say to who writes Python, and what that is in a shell.
_PHRASES = (
    ("send the parts that split_body(text) gives", "send it in parts (--split)"),
    ("as tls=", "as --cafile"),
    ("; call connect()", "; send it again"),
    ("; connect again and send again", "; send it again"),
)


def sentence(error: AMIError) -> str:
    """What is wrong and what to do (str), in one line and without a word of Python."""
    text = " ".join(str(error).split())  # the server's words may hold a line end
    for phrase, ours in _PHRASES:
        text = text.replace(phrase, ours)
    return text


def with_option(error: AMIError) -> str:
    """The same (str), with the option that it is about in front."""
    if error.field in _OPTIONS:
        return f"{_OPTIONS[error.field]}: {sentence(error)}"
    return sentence(error)
