"""The mail image for real: submission with a password, keeping, relaying over verified TLS, reading."""

from __future__ import annotations

import base64
import hashlib
import json
import smtplib
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from containers import wait_for_port
from signatures import is_valid, tags_of

from libresh.kube import keys

pytestmark = pytest.mark.e2e

SUBMISSION = 2525
VIEWER = 8025
CONFIG, SPOOL, KEPT = "/etc/libresh/mail", "/var/spool/exim", "/var/lib/mail"


def account(name: str, password: str) -> str:
    return f"{name}: {{sha256}}salt1${hashlib.sha256(b'salt1' + password.encode()).hexdigest()}\n"


def send(
    user: str,
    password: str,
    sender: str,
    to: str = "bob@example.org",
    subject: str = "hello",
    port: int = SUBMISSION,
    trust: Path | None = None,
) -> None:
    with smtplib.SMTP("127.0.0.1", port) as server:
        if trust:
            server.starttls(context=ssl.create_default_context(cafile=str(trust)))
        if user:
            server.login(user, password)
        server.sendmail(sender, [to], f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nthe text\r\n")


def kept(running: Any) -> list[str]:
    return [path.read_text() for path in running.volume(KEPT).glob("kept/new/*")]


def wait_for_mail(running: Any, count: int = 1) -> list[str]:
    deadline = time.monotonic() + 15
    while len(kept(running)) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(kept(running)) == count
    return kept(running)


@pytest.fixture
def mail(container: Any) -> Any:
    running = container("mail")
    running.volume(CONFIG, {"accounts": account("matrix", "s3cret"), "senders": "bounded: *@acme.test\n"})
    running.start(["/usr/local/bin/libresh-mail"], [CONFIG, SPOOL, KEPT])
    wait_for_port(SUBMISSION)
    return running


def test_a_message_sent_with_the_password_is_kept(mail: Any) -> None:
    send("matrix", "s3cret", "matrix@acme.test")
    (text,) = wait_for_mail(mail)
    assert "Envelope-to: bob@example.org" in text
    assert "the text" in text


@pytest.mark.parametrize("user", ["matrix", "nobody", "../accounts", "matrix:"])
def test_a_wrong_password_or_name_is_refused(mail: Any, user: str) -> None:
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(user, "wrong", "matrix@acme.test")


def test_nobody_sends_without_a_password(mail: Any) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="authenticate first"):
        send("", "", "matrix@acme.test")


def test_a_new_account_works_at_once(mail: Any) -> None:
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send("late", "pa:ss", "late@acme.test")
    mail.volume(CONFIG, {"accounts": account("matrix", "s3cret") + account("late", "pa:ss")})
    send("late", "pa:ss", "late@acme.test")
    wait_for_mail(mail)


def test_an_account_writes_only_as_the_senders_it_was_given(mail: Any) -> None:
    mail.volume(CONFIG, {"accounts": account("bounded", "s3cret")})
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="may not send as"):
        send("bounded", "s3cret", "ceo@elsewhere.test")
    send("bounded", "s3cret", "wiki@acme.test")
    wait_for_mail(mail)


def test_kept_mail_is_read_with_a_password_only(mail: Any) -> None:
    mail.volume("/etc/libresh/viewer", {"username": "reader", "password": "letmein"})
    mail.start(["/usr/local/bin/libresh-mail-viewer"], ["/etc/libresh/viewer", KEPT])
    wait_for_port(VIEWER)
    assert get("/messages") == []
    send("matrix", "s3cret", "matrix@acme.test", subject="first <b>")
    wait_for_mail(mail)
    (message,) = get("/messages?to=bob@example.org")
    assert (message["subject"], message["envelope_to"]) == ("first <b>", "bob@example.org")
    assert get("/messages?to=alice") == []
    assert get(f"/messages/{message['key']}")["text"].strip() == "the text"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get("/messages", password="wrong")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get("/messages/..%2F..%2Fetc%2Fpasswd")


def get(path: str, password: str = "letmein") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{VIEWER}{path}")
    request.add_header("Authorization", "Basic " + base64.b64encode(f"reader:{password}".encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_mail_is_relayed_over_verified_tls(container: Any, tmp_path: Path) -> None:
    """A provider with TLS and a password stands in another network: the relay must reach it, and only it."""
    certificate, key = make_certificate(tmp_path)
    provider = container("mail")
    provider.volume(CONFIG, {"accounts": account("us", "p^ss: word"), "main.conf": MOVED_PORTS})
    provider.volume("/etc/libresh/tls", {"tls.crt": certificate, "tls.key": key})
    provider.start(["/usr/local/bin/libresh-mail"], [CONFIG, SPOOL, KEPT, "/etc/libresh/tls"])
    relay = container("mail")
    smarthost = "host: localhost\nport: 3525\nusername: us\npassword: p^ss: word\n"
    relay.volume(CONFIG, {"accounts": account("matrix", "s3cret"), "smarthost": smarthost})
    output = relay.start(["/usr/local/bin/libresh-mail"], [CONFIG, SPOOL, KEPT]).stdout
    assert output is not None
    wait_for_port(SUBMISSION)
    wait_for_port(3525)

    send("matrix", "s3cret", "matrix@acme.test", subject="untrusted")
    wait_for_line(output, "certificate")
    assert kept(provider) == []

    relay.volume(CONFIG, {"smarthost-ca.crt": certificate})
    relay.run(["/usr/sbin/exim4", "-qff"], [CONFIG, SPOOL, KEPT])
    (text,) = wait_for_mail(provider)
    assert "Subject: untrusted" in text
    assert kept(relay) == []
    with pytest.raises(smtplib.SMTPNotSupportedError):
        send("us", "p^ss: word", "x@acme.test", port=3525)
    send("us", "p^ss: word", "x@acme.test", port=3525, trust=relay.volume(CONFIG) / "smarthost-ca.crt")
    wait_for_mail(provider, 2)


def test_what_is_relayed_is_signed_for_its_own_domain_only(container: Any) -> None:
    provider = container("mail")
    provider.volume(CONFIG, {"accounts": account("us", "s3cret"), "main.conf": MOVED_PORTS})
    provider.start(["/usr/local/bin/libresh-mail"], [CONFIG, SPOOL, KEPT])
    pem = keys.new_rsa_key()
    relay = container("mail")
    relay.volume(
        CONFIG,
        {
            "accounts": account("matrix", "s3cret"),
            "smarthost": "host: localhost\nport: 3525\ntls: none\nusername: us\npassword: s3cret\n",
            "dkim": "domain: acme.test\nselector: libresh\n",
            "dkim.pem": pem.decode(),
        },
    )
    relay.start(["/usr/local/bin/libresh-mail"], [CONFIG, SPOOL, KEPT])
    wait_for_port(SUBMISSION)
    wait_for_port(3525)
    send("matrix", "s3cret", "matrix@acme.test")
    (signed,) = wait_for_mail(provider)
    tags, public = tags_of(signed), keys.public_part(pem)
    assert (tags["d"], tags["s"]) == ("acme.test", "libresh")
    assert is_valid(signed, public)
    assert not is_valid(signed.replace("the text", "another text"), public)
    assert not is_valid(signed.replace("Subject: hello", "Subject: hallo"), public)
    assert not is_valid(signed, keys.public_part(keys.new_rsa_key()))
    send("matrix", "s3cret", "matrix@elsewhere.test")
    assert sum("DKIM-Signature" in text for text in wait_for_mail(provider, 2)) == 1


def test_an_account_that_sends_too_much_is_put_off(mail: Any) -> None:
    mail.volume(CONFIG, {"limits": "rate: 2\n", "accounts": account("matrix", "s3cret") + account("other", "s3cret")})
    for _ in range(2):
        send("matrix", "s3cret", "matrix@acme.test")
    with pytest.raises(smtplib.SMTPRecipientsRefused, match=r"451.*within an hour"):
        send("matrix", "s3cret", "matrix@acme.test")
    send("other", "s3cret", "other@acme.test")
    wait_for_mail(mail, 3)


MOVED_PORTS = "PORTS = 3525\n"


def wait_for_line(output: Any, words: str) -> str:
    for _ in range(200):
        line: str = output.readline().decode()
        if words in line:
            return line
    raise AssertionError(f"{words!r} never came")


def make_certificate(folder: Path) -> tuple[str, str]:
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            "key",
            "-out",
            "cert",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return (folder / "cert").read_text(), (folder / "key").read_text()
