"""Text from outside, made safe to show."""

from __future__ import annotations

import re
from typing import Any

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, line breaks and tabs among them
    "\u2028\u2029"  # line and paragraph separators
    "\u202a-\u202e\u2066-\u2069"  # turns of direction, which make a text read as another
    "\ud800-\udfff\ufffe\uffff]"  # lone surrogates and non-characters: no UTF-8, no XML
)


_LONG = 10**40


def printable(text: str) -> str:
    r"""Return a text as one line that is safe to print, to log and to write into XML.

    >>> printable("cup\x1b[2J\n").encode("ascii", "backslashreplace")
    b'cup\\ufffd[2J\\ufffd'
    """
    return _UNSAFE.sub("\ufffd", text)


def is_printable(text: str) -> bool:
    """Whether ``printable`` would leave a text as it is."""
    return _UNSAFE.search(text) is None


def shown(value: object) -> str:
    """Spell a value for a message: on one line, and short."""
    if isinstance(value, int) and not -_LONG < value < _LONG:
        return "a number of more than 40 digits"  # of 4,300, Python would refuse to spell it
    spelled = ascii(value) if not isinstance(value, dict | list) else _outline(value)
    return spelled if len(spelled) <= 60 else f"{spelled[:57]}..."


def _outline(value: dict[str, Any] | list[Any]) -> str:
    """Spell a container as far as a message shows it: it may be deep, and as large as its file."""
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if len(value) <= 4 and not any(isinstance(item, dict | list) for item in value):
        return ascii(value)
    return f"a list of {len(value)}"
