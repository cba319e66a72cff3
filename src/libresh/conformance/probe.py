"""What runs in the cluster, beside a claim: an application that uses the connection secret it was given.

It is given steps by the variable STEPS (JSON, no secrets), finds each connection secret as a folder of files below
SERVICE_BINDING_ROOT, as servicebinding.io has it, and writes what came of each step to the termination message. With
the argument `-` it is given both on standard input, as one line of JSON, and answers on standard output. It needs
Python's standard library, and psql for SQL. No secret leaves it: what servers say is cleaned of them.

    ok · refused (these credentials do not let it in) · missing (what was written is not there) ·
    unreachable (nobody answers, tried until the step's patience ends) · broken (anything else)
"""

import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import os
import pathlib
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

AUTHORITY = "ca.crt"
"""Beside the program: authorities to trust besides the public ones."""
SAID = 400
PAUSE = 0.5
TIMEOUT = 8
Binding = dict[str, str]
Step = dict[str, Any]


class Refused(Exception):
    """The credentials do not let us in."""


class Missing(Exception):
    """What was written is not there."""


class Unreachable(Exception):
    """Nobody answers yet."""


# --- PostgreSQL ----------------------------------------------------------------------------------------------------

REFUSALS = ("authentication failed", "no pg_hba.conf entry", "permission denied", "not permitted to log in")
BY_KEYS = {"PGHOST": "host", "PGPORT": "port", "PGDATABASE": "database", "PGUSER": "username", "PGPASSWORD": "password"}
BY_URI = "".join(f"\\setenv {name}\n" for name in BY_KEYS) + "\\getenv uri URI\n\\connect :uri\n"
"""Once the keys have let us in, so must the one that says all of it: what follows is done by that alone."""
NOT_YET = ("could not", "refused", "timeout", "starting up", "shutting down", "terminat", "recovery", "closed the conn")


def run_sql(binding: Binding, script: str) -> str:
    """What psql prints. The passwords reach it by environment, the statements on standard input."""
    environment = {
        **os.environ,
        **{name: binding[key] for name, key in BY_KEYS.items()},
        "PGCONNECT_TIMEOUT": str(TIMEOUT),
        "PGAPPNAME": "libresh-conformance",
        "URI": binding["uri"],
    }
    if AUTHORITY in binding:
        environment |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": binding[AUTHORITY]}
    elif "sslrootcert" in binding:
        environment["PGSSLROOTCERT"] = binding["sslrootcert"]
    if "sslmode" in binding:
        environment["PGSSLMODE"] = binding["sslmode"]
    psql = ("psql", "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1")
    done = subprocess.run(psql, input=BY_URI + script, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout.strip()
    if any(word in done.stderr for word in REFUSALS):
        raise Refused(done.stderr)
    if "does not exist" in done.stderr and "relation" in done.stderr:
        raise Missing(done.stderr)
    if "does not exist" in done.stderr:
        raise Refused(done.stderr)
    if any(word in done.stderr.lower() for word in NOT_YET):
        raise Unreachable(done.stderr)
    raise RuntimeError(done.stderr)


def use_postgresql(binding: Binding, step: Step) -> None:
    token = step["token"]
    assert token.isalnum()
    if step["do"] == "write":
        run_sql(
            binding,
            "CREATE TABLE IF NOT EXISTS conformance (token text PRIMARY KEY);\n"
            f"INSERT INTO conformance VALUES ('{token}') ON CONFLICT DO NOTHING;\n",
        )
    if run_sql(binding, f"SELECT count(*) FROM conformance WHERE token = '{token}';\n") != "1":
        raise Missing(f"no row {token}")


# --- Redis -----------------------------------------------------------------------------------------------------------


def encode_command(*words: str) -> bytes:
    parts = [f"${len(word.encode())}\r\n".encode() + word.encode() + b"\r\n" for word in words]
    return f"*{len(words)}\r\n".encode() + b"".join(parts)


def ask_redis(stream: Any, *words: str) -> str | None:
    """One command and its answer, a simple one."""
    stream.write(encode_command(*words))
    stream.flush()
    line = stream.readline().decode().rstrip("\r\n")
    if not line:
        raise Unreachable("the connection was closed")
    if line[0] == "-":
        word = line[1:].split(" ")[0]
        if word in ("LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN"):
            raise Unreachable(line)
        if words[0] == "AUTH" or word in ("NOAUTH", "NOPERM"):
            raise Refused(line)
        raise RuntimeError(line)
    if line[0] == "$":
        size = int(line[1:])
        return None if size < 0 else bytes(stream.read(size + 2)[:-2]).decode()
    return str(line[1:])


def use_redis(binding: Binding, step: Step) -> None:
    with open_socket(binding) as plain:
        secure = binding["uri"].startswith("rediss:")
        wrapped = trust(binding).wrap_socket(plain, server_hostname=binding["host"]) if secure else plain
        stream = wrapped.makefile("rwb")
        ask_redis(stream, "AUTH", binding["username"], binding["password"])
        key = f"{binding.get('prefix', '')}conformance:{step['token']}"
        if step["do"] == "write":
            ask_redis(stream, "SET", key, step["token"])
        if ask_redis(stream, "GET", key) != step["token"]:
            raise Missing(f"no key {step['token']}")


def open_socket(binding: Binding) -> socket.socket:
    return socket.create_connection((binding["host"], int(binding["port"])), timeout=TIMEOUT)


def trust(binding: Binding) -> ssl.SSLContext:
    """The public authorities, the cluster's, and the service's own."""
    context = ssl.create_default_context()
    # Authorities that people made themselves often lack what the strict reading of RFC 5280 asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if AUTHORITY in binding:
        context.load_verify_locations(cadata=binding[AUTHORITY])
    own = pathlib.Path(__file__).with_name(AUTHORITY)
    if own.exists() and own.stat().st_size:
        context.load_verify_locations(cafile=str(own))
    return context


# --- HTTP ------------------------------------------------------------------------------------------------------------


def request(
    binding: Binding, method: str, url: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body. 5xx and silence mean that nobody answers yet."""
    asked = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT, context=trust(binding)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise Unreachable(f"HTTP {error.code}") from error
        return error.code, error.read()


# --- S3 --------------------------------------------------------------------------------------------------------------


def sign(binding: Binding, method: str, path: str, body: bytes, now: datetime.datetime) -> dict[str, str]:
    """The headers of AWS Signature Version 4 (docs.aws.amazon.com/AmazonS3, "Authenticating Requests")."""
    stamp, day, region = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"), binding["region"]
    digest = hashlib.sha256(body).hexdigest()
    host = urllib.parse.urlsplit(binding["endpoint"]).netloc
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{digest}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{binding['secret-access-key']}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{binding['access-key-id']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


S3_REFUSALS = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "XAdminUserNotFound")
S3_MISSING = ("NoSuchKey", "NoSuchBucket")
"""Error codes of Amazon S3 (its API reference, "Error responses"), and the one by which versitygw 1.8.0 refuses an
access key that is not its root's (s3err/s3err.go, with the number 404)."""


def ask_s3(binding: Binding, method: str, key: str, body: bytes = b"") -> bytes:
    path = urllib.parse.quote(f"/{binding['bucket']}/{key}")
    headers = sign(binding, method, path, body, datetime.datetime.now(datetime.UTC))
    if body:
        # Else urllib says that it is a form, which a server may take apart.
        headers["content-type"] = "application/octet-stream"
    code, said = request(binding, method, binding["endpoint"].rstrip("/") + path, headers, body or None)
    if code < 300:
        return said
    # The word in the answer counts, not the number: servers give these refusals different ones.
    found = re.search(rb"<Code>(\w+)</Code>", said)
    word = found[1].decode() if found else ""
    if word in S3_REFUSALS or code in (401, 403):
        raise Refused(f"HTTP {code} {word}")
    if word in S3_MISSING:
        raise Missing(f"HTTP {code} {word} for {key}")
    raise RuntimeError(f"HTTP {code} {word}: {said[:SAID].decode(errors='replace')}")


def use_bucket(binding: Binding, step: Step) -> None:
    key, content = f"conformance/{step['token']}", step["token"].encode() * 100
    if step["do"] == "write":
        ask_s3(binding, "PUT", key, content)
    if ask_s3(binding, "GET", key) != content:
        raise Missing(f"the object {key} has another content")


# --- mail ------------------------------------------------------------------------------------------------------------


def use_smtp(binding: Binding, step: Step) -> None:
    place = (binding["host"], int(binding["port"]))
    try:
        if binding["tls"] == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(*place, timeout=TIMEOUT, context=trust(binding))
        else:
            server = smtplib.SMTP(*place, timeout=TIMEOUT)
        with server:
            if binding["tls"] == "starttls":
                server.starttls(context=trust(binding))
            if "username" in binding:
                server.login(binding["username"], binding["password"])
            message = EmailMessage()
            message["From"], message["To"] = binding["sender"], "conformance@example.org"
            message["Subject"] = f"conformance {step['token']}"
            message.set_content("Sent by libresh conformance.")
            server.send_message(message)
    except smtplib.SMTPAuthenticationError as error:
        raise Refused(str(error)) from error
    except (smtplib.SMTPConnectError, smtplib.SMTPServerDisconnected) as error:
        raise Unreachable(str(error)) from error
    except smtplib.SMTPException as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


# --- log-in ----------------------------------------------------------------------------------------------------------


def use_oidc(binding: Binding, step: Step) -> None:
    """Discovery, then a code that nobody issued: a provider that knows the client says that the code is wrong.

    OpenID Connect Discovery 1.0 §4; RFC 6749 §5.2: `invalid_client` for a client that is not let in, `invalid_grant`
    for a code that is not known.
    """
    issuer = binding["issuer"].rstrip("/")
    code, said = request(binding, "GET", f"{issuer}/.well-known/openid-configuration", {"Accept": "application/json"})
    if code != 200:
        raise RuntimeError(f"discovery: HTTP {code}")
    known = json.loads(said)
    if known["issuer"].rstrip("/") != issuer:
        raise RuntimeError(f"discovery names another issuer: {known['issuer']}")
    form = {"grant_type": "authorization_code", "code": "nobody-issued-this", "redirect_uri": step["redirect"]}
    methods = known.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if "client_secret_basic" in methods:
        headers["Authorization"] = "Basic " + basic(binding["client-id"], binding["client-secret"])
    else:
        form |= {"client_id": binding["client-id"], "client_secret": binding["client-secret"]}
    code, said = request(binding, "POST", known["token_endpoint"], headers, urllib.parse.urlencode(form).encode())
    with contextlib.suppress(ValueError):
        error = json.loads(said).get("error")
        if error == "invalid_client" or code == 401:
            raise Refused(f"HTTP {code}: {error}")
        if error == "invalid_grant":
            return
    raise RuntimeError(f"the token endpoint says HTTP {code}: {said[:SAID].decode(errors='replace')}")


def basic(name: str, secret: str) -> str:
    """RFC 6749 §2.3.1: both are form-encoded before they are joined."""
    joined = f"{urllib.parse.quote_plus(name)}:{urllib.parse.quote_plus(secret)}"
    return base64.b64encode(joined.encode()).decode()


# --- steps -----------------------------------------------------------------------------------------------------------

USES: dict[str, Callable[[Binding, Step], None]] = {
    "postgresql": use_postgresql,
    "redis": use_redis,
    "s3": use_bucket,
    "smtp": use_smtp,
    "oidc": use_oidc,
}


def read_binding(root: pathlib.Path, name: str) -> Binding:
    """A connection secret, mounted as a folder."""
    return {file.name: file.read_text() for file in (root / name).iterdir() if file.is_file()}


def binding_for(root: pathlib.Path, step: Step) -> Binding:
    """The connection of a step: one secret's, with some keys of another, or with some keys spoilt."""
    binding = read_binding(root, step["binding"])
    if step.get("keys_of"):
        other = read_binding(root, step["keys_of"])
        binding |= {key: other[key] for key in step["keys"]}
    elif step.get("keys"):
        binding |= {key: binding[key][::-1] + "x" for key in step["keys"]}
    if AUTHORITY in binding and binding["type"] == "postgresql":
        binding[AUTHORITY] = str(root / step["binding"] / AUTHORITY)
    return binding


def perform(root: pathlib.Path, step: Step) -> tuple[str, str]:
    """What came of a step, in a word and in the server's words."""
    deadline = time.monotonic() + step.get("patience", 20)
    while True:
        try:
            binding = binding_for(root, step)
            USES[binding["type"]](binding, step)
            return "ok", ""
        except Refused as error:
            return "refused", str(error)
        except Missing as error:
            return "missing", str(error)
        except (Unreachable, OSError) as error:
            if time.monotonic() > deadline:
                return "unreachable", f"{type(error).__name__}: {error}"
        except Exception as error:
            return "broken", f"{type(error).__name__}: {error}"
        time.sleep(PAUSE)


def clean(said: str, root: pathlib.Path) -> str:
    """What a server said, without any value of a secret in it."""
    for folder in root.iterdir() if root.exists() else ():
        for file in folder.iterdir():
            if file.is_file() and any(word in file.name for word in ("password", "secret", "uri")):
                said = said.replace(file.read_text() or "\0", "***")
    return " ".join(said.split())[:SAID]


def take(root: pathlib.Path, steps: list[Step]) -> str:
    """One step after the other, and what came of each."""
    results = []
    for step in steps:
        word, said = perform(root, step)
        results.append([word, clean(said, root)])
    return json.dumps(results)


def take_from(line: str) -> str:
    """The steps of a line, whose connections are put where mounted ones would be."""
    given = json.loads(line)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, values in given["bindings"].items():
            (root / name).mkdir()
            for key, value in values.items():
                (root / name / key).write_text(value)
        return take(root, given["steps"])


def main() -> None:
    if sys.argv[1:] == ["-"]:
        answer = take_from(sys.stdin.readline())
    else:
        answer = take(pathlib.Path(os.environ["SERVICE_BINDING_ROOT"]), json.loads(os.environ["STEPS"]))
        pathlib.Path(os.environ.get("ANSWER", "/dev/termination-log")).write_text(answer)
    sys.stdout.write(answer + "\n")


if __name__ == "__main__":
    main()
