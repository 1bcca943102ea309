"""Sending one message, to an ntfy topic or as mail. The address is a secret: no error names it."""

import base64
import smtplib
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import NamedTuple

from deeprig_box.lib import bounded

CONF = Path("/etc/deeprig/notify.conf")
PROXY_FILE = "/etc/profile.d/deeprig-proxy.sh"
SENDMAIL = "/usr/sbin/sendmail"
SECONDS = 20


class Message(NamedTuple):
    title: str
    text: str
    priority: str  # low, default, high or urgent, as ntfy calls them
    tag: str


class Undelivered(Exception):
    """Why a message could not be sent, in a few words that hold no secret."""


def settings() -> dict[str, str]:
    """`to` and `relay` of the configuration file."""
    pairs = (line.partition("=") for line in CONF.read_text().splitlines())
    return {key: value for key, equals, value in pairs if equals and not key.startswith("#")}


def deliver(message: Message) -> None:
    """Send it; raises Undelivered where nobody took it."""
    conf = settings()
    if "://" in conf["to"]:
        post(message, conf["to"])
    else:
        mail(message, conf["to"], conf.get("relay", ""))


def post(message: Message, url: str) -> None:
    """To an ntfy topic; a user and password in the URL become a login."""
    parts = urllib.parse.urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    headers = {"Title": message.title, "Priority": message.priority, "Tags": message.tag}
    headers["Content-Type"] = "text/plain; charset=utf-8"
    if "@" in parts.netloc:
        login = urllib.parse.unquote(parts.netloc.rpartition("@")[0])
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    address = urllib.parse.urlunsplit(parts._replace(netloc=where))
    request = urllib.request.Request(address, message.text.encode(), headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies(where)))
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            answer.read(4096)
    except urllib.error.HTTPError as error:
        raise Undelivered(f"{where} answers {error.code} ({error.reason})") from None
    except urllib.error.URLError as error:
        raise Undelivered(f"cannot reach {where}: {words(error.reason)}") from None
    except (OSError, ValueError) as error:
        raise Undelivered(f"cannot reach {where}: {words(error)}") from None


def proxies(where: str) -> dict[str, str]:
    """The proxy of the settings, unless this address is to be reached without."""
    script = f"test ! -r {PROXY_FILE} || . {PROXY_FILE}; echo $https_proxy; echo $no_proxy"
    lines = bounded.run(["/bin/sh", "-c", script]).out
    proxy, past, *_ = [*lines.splitlines(), "", ""]
    if not proxy or urllib.parse.urlsplit(f"//{where}").hostname in past.split(","):
        return {}
    return {"http": proxy, "https": proxy}


def mail(message: Message, to: str, relay: str) -> None:
    """By the relay of the settings, or else by the box's own sendmail."""
    name = socket.gethostname()
    sender = f"deeprig@{name if '.' in name else f'{name}.localdomain'}"
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = sender, to, message.title
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=sender.split("@")[1])
    letter["Importance"] = {"urgent": "high", "high": "high"}.get(message.priority, "normal")
    letter["Auto-Submitted"] = "auto-generated"  # so that no holiday responder answers
    letter.set_content(message.text)
    if not relay:
        hand_over(letter)
        return
    host, _, port = relay.rpartition(":")
    try:
        with smtplib.SMTP(host, int(port), timeout=SECONDS) as server:
            server.send_message(letter)
    except (OSError, smtplib.SMTPException) as error:
        raise Undelivered(f"the mail relay {relay} does not take it: {words(error)}") from None


def hand_over(letter: EmailMessage) -> None:
    done = bounded.run([SENDMAIL, "-t", "-oi"], stdin=letter.as_bytes(), seconds=60)
    if done.code:
        raise Undelivered(f"{SENDMAIL} does not take it: {done.last_words}")


def words(error: object) -> str:
    """What went wrong, without what was sent and to whom."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "it refuses the recipient"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answers {error.smtp_code}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted, see Rig.ca_certificates"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
