"""JSON over HTTPS to one server, with words that say what to do where it does not work.

Nothing is followed elsewhere: an answer that sends us to another place is told, since secrets would go there. An answer
is read to a bound, and within a time.
"""

import base64
import contextlib
import http.client
import json
import signal
import ssl
from urllib.parse import quote_plus, urlencode, urlsplit

from libresh_errand.errand import CONNECT_TIMEOUT, PATIENCE, Refused, Trouble, first_line

LARGEST = 2**20
"""Bytes of an answer."""


class Answer:
    """What a server said."""

    def __init__(self, status, text):
        self.status = status
        self.document = parsed(text)

    @property
    def said(self):
        """The server's own words, where it has some: of OAuth, OpenID Connect and Keycloak."""
        if not isinstance(self.document, dict):
            return f"HTTP {self.status}"
        words = (self.document.get(key) for key in ("error_description", "errorMessage", "error"))
        return next((word.rstrip(".") for word in words if isinstance(word, str) and word), f"HTTP {self.status}")


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def ask(errand, method, address, *, token="", basic=None, document=None, form=None):
    """One request. What is no answer at all is told here; the rest is the caller's to judge."""
    headers = {"Accept": "application/json", "User-Agent": "libresh"}
    body = None
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if basic:
        headers["Authorization"] = f"Basic {basic_of(*basic)}"
    if document is not None:
        headers["Content-Type"], body = "application/json", json.dumps(document)
    if form is not None:
        headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(form)
    answer = told(errand, method, address, body, headers)
    if answer.status >= 500:
        raise Trouble(f"{place(address)} has trouble of its own: {answer.said} (HTTP {answer.status})")
    if 300 <= answer.status < 400:
        raise Refused(
            f"{place(address)} sends us elsewhere (HTTP {answer.status}): name in ServiceClass {errand['class']} the "
            f"address where it answers itself"
        )
    return answer


def basic_of(name, secret):
    """A client's credentials, percent-encoded first as RFC 6749 (2.3.1) has it."""
    return base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()


def told(errand, method, address, body, headers):
    parts = urlsplit(address)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port or 443, timeout=CONNECT_TIMEOUT, context=trust(errand)
    )
    try:
        with contextlib.closing(connection), patience(address):
            connection.connect()
            connection.sock.settimeout(PATIENCE)
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read(LARGEST).decode(errors="replace"))
    except ssl.SSLCertVerificationError as error:
        raise Trouble(
            f"{place(address)}: its certificate is not trusted: {error.verify_message}; if an authority of your own "
            f"signed it, name that in spec.parameters.caRef of ServiceClass {errand['class']}"
        ) from None
    except ssl.SSLError as error:
        raise Trouble(f"{place(address)} does not speak TLS as we do: {error.reason or 'no reason given'}") from None
    except TimeoutError:
        raise Trouble(f"{place(address)} cannot be reached: it does not answer") from None
    except OSError as error:
        raise Trouble(f"{place(address)} cannot be reached: {error.strerror or first_line(error)}") from None
    except http.client.HTTPException as error:
        raise Trouble(f"{place(address)} does not answer as a web server does: {type(error).__name__}") from None


def trust(errand):
    """Whom we trust to say who a server is: the class's authority, otherwise the public ones."""
    context = ssl.create_default_context(cafile=errand.authority)
    # Authorities that people made themselves often lack what the strict reading of RFC 5280 asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@contextlib.contextmanager
def patience(address):
    """A server that answers a byte at a time is not waited for longer than one that says nothing."""

    def give_up(*_):
        raise Trouble(f"{place(address)} cannot be reached: it has not answered within {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def place(address):
    parts = urlsplit(address)
    return f"{parts.hostname}:{parts.port or 443}"


def metadata(errand, address):
    """What a provider says of itself (OpenID Connect Discovery 1.0), None where there is no provider. The issuer must
    be the one that applications are told: they compare it with the one in their tokens."""
    answer = ask(errand, "GET", f"{address.rstrip('/')}/.well-known/openid-configuration")
    if answer.status == 404:
        return None
    document = answer.document
    if answer.status != 200 or not isinstance(document, dict) or not isinstance(document.get("issuer"), str):
        raise Trouble(f"{place(address)} does not say who it is below {address}: {answer.said} (HTTP {answer.status})")
    if document["issuer"] != errand["issuer"]:
        raise Refused(
            f"{address} says that its issuer is {document['issuer'][:200]}, and not {errand['issuer']}: set "
            f"spec.parameters.issuer in a class like ServiceClass {errand['class']} to just that"
        )
    return document


def lets_in(errand, endpoint, client, secret):
    """Whether a client's id and secret are right: asked with a code that cannot be, which is looked at only after the
    client was recognised (RFC 6749, 4.1.3 and 5.2)."""
    form = {"grant_type": "authorization_code", "code": "none", "redirect_uri": errand["redirects"][0]}
    answer = ask(errand, "POST", endpoint, basic=(client, secret), form=form)
    return answer.status == 400
