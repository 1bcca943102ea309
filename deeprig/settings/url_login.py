"""A login in a URL, as in https://NAME:PASSWORD@host/: hidden wherever a URL is shown."""

import re
from urllib.parse import unquote, urlsplit

# Also where somebody forgot the scheme.
LOGIN = re.compile(r"(?<=//)\S*@|[^\s'\"/:@]+:(?!//)[^\s'\"@]*@")


def hidden(text: str) -> str:
    """The text without the names and passwords of the URLs in it."""
    return LOGIN.sub("...@", text)


def split(url: str) -> tuple[str, str, str]:
    """The URL without its login, the name and the password; "" for what it does not hold."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return bare.geturl(), unquote(parts.username or ""), unquote(parts.password or "")
