"""Passwords in URLs, which are neither stored nor shown."""

import re

_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^/\s]*@")
_IN_QUERY = re.compile(r"([?&][^=&\s]*password=)[^&\s]*", re.IGNORECASE)


def without_password(text: str) -> str:
    """The text with *** for the passwords of its URLs."""
    return _IN_QUERY.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))
