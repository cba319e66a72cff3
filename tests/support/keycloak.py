"""A real Keycloak with its database in memory, on a free port of loopback, over TLS, for the length of a test run.

    with Keycloak() as server:
        server.url, server.authority               # the certificate's, as PEM
        server.realm("acme")                       # a new one, empty
        server.admin("GET", "/acme/clients")       # as the administrator; a Refusal has the status and the answer

Its distribution comes from Maven's central repository and is kept, prepared, in libre.sh's cache. What that takes
(Maven, Java) is installed where it is missing and apt can. It dies with the test process, however that ends.
"""

import fcntl
import hashlib
import html
import http.cookiejar
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any

from libresh.local import binaries
from support.apiserver import LOOPBACK, Authority, Unstartable, die_with_parent, free_ports

VERSION = "26.4.7"
DIGEST = "dd9834c023460be856f731423d86228c23b5d002194a2064642bec0cc6573eaa"
"""The SHA-256 of its zip file."""
BUILD = ("build", "--db=dev-mem", "--health-enabled=false", "--metrics-enabled=false")
JAVA = (
    # Little memory and a quick start; the rest is as bin/kc.sh has it.
    *("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    *(f"--add-opens=java.base/java.{each}=ALL-UNNAMED" for each in ("util", "util.concurrent", "security")),
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    # Else it gives up where its own database in memory does not begin within five seconds: on a busy machine.
    "-Dquarkus.datasource.jdbc.acquisition-timeout=120S",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
)
ROOT, PASSWORD = "root", "of-the-administrator"
PATIENCE = 120.0
REDIRECTS = (301, 302, 303)


class Refusal(Exception):
    """What the server answered instead."""

    def __init__(self, status: int, document: Any) -> None:
        super().__init__(f"{status}: {document}")
        self.status, self.document = status, document


def tools() -> None:
    """Maven and Java, from Debian where they are not there."""
    if shutil.which("mvn") and shutil.which("java"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unstartable("Keycloak needs Java 17 or later and Maven: apt-get install maven")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "maven"]):
        subprocess.run(command, env=environment, check=True, capture_output=True)


def prepared() -> Path:
    """Keycloak's folder, ready to start. What was made once is kept; half of it is never seen."""
    name = f"{VERSION}-{hashlib.sha256(' '.join((DIGEST, *BUILD)).encode()).hexdigest()[:8]}"
    kept = binaries.cache() / "keycloak"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (kept / name).exists():
            tools()
            for old in kept.glob("*-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=kept, prefix="half") as half:
                prepare(Path(half)).rename(kept / name)
    return kept / name


def prepare(folder: Path) -> Path:
    artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
    copy = ["mvn", "-B", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
    done = subprocess.run(copy, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        raise Unstartable(f"{artifact} could not be fetched: {done.stdout[-2000:]}")
    (file,) = folder.glob("*.zip")
    with file.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == DIGEST, f"{artifact} is not what it was"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    (home,) = folder.glob("keycloak-*/")
    built = subprocess.run(
        ["sh", str(home / "bin" / "kc.sh"), *BUILD], capture_output=True, text=True, check=False, cwd=folder
    )
    if built.returncode != 0:
        raise Unstartable(f"Keycloak {VERSION} could not be prepared: {built.stdout[-2000:]}")
    return home


class Keycloak:
    """One Keycloak. Several may run at once."""

    def __init__(self, address: str = LOOPBACK, public: str = "") -> None:
        """`address`: of this machine, to listen at. `public`: how others reach it, and its tokens name it; empty: so,
        too."""
        self.folder = Path(tempfile.mkdtemp(prefix="libresh-keycloak-"))
        (self.port,) = free_ports(1, address)
        self.address, self.url = address, f"https://{address}:{self.port}"
        self.public = public or self.url
        authority = Authority(self.folder)
        names = (address, str(urllib.parse.urlsplit(self.public).hostname))
        self.certificate, self.key = authority.issue("server", server=True, also=names)
        self.authority = authority.file.read_text()
        self.context = ssl.create_default_context(cafile=str(authority.file))
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self.program: subprocess.Popen[bytes] | None = None

    # --- life --------------------------------------------------------------------------------------------------

    def __enter__(self) -> "Keycloak":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        home = prepared()
        tools()
        flags = (
            "--optimized",
            "--cache=local",
            f"--http-host={self.address}",
            f"--https-port={self.port}",
            f"--https-certificate-file={self.certificate}",
            f"--https-certificate-key-file={self.key}",
            f"--hostname={self.public}",
        )
        folders = (f"-Dkc.home.dir={home}", f"-Djboss.server.config.dir={home / 'conf'}")
        entry = ("-cp", str(home / "lib" / "quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint")
        admin = {"KC_BOOTSTRAP_ADMIN_USERNAME": ROOT, "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
        with self.log.open("wb") as log:
            self.program = subprocess.Popen(
                ["java", *JAVA, *folders, *entry, "start", *flags],
                env=os.environ | admin,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=die_with_parent,
                # Who interrupts the run does not mean it: what is then cleared up may need it.
                start_new_session=True,
            )
        self.await_ready()

    def await_ready(self) -> None:
        assert self.program is not None
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("GET", "/realms/master")
                return
            except (OSError, Refusal):
                if self.program.poll() is not None or time.monotonic() > deadline:
                    raise Unstartable(f"Keycloak does not come up: {self.log.read_text()[-2000:]}") from None
                time.sleep(0.2)

    def stop(self) -> None:
        if self.program is not None:
            self.program.kill()
            self.program.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    # --- asking ------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, *, token: str = "", document: Any = None, form: Any = None) -> Any:
        """One request below the server's address."""
        request = urllib.request.Request(path if path.startswith("https:") else self.url + path, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if document is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(document).encode()
        if form is not None:
            request.data = urllib.parse.urlencode(form).encode()
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=60) as answer:
                return parsed(answer.read())
        except urllib.error.HTTPError as error:
            raise Refusal(error.code, parsed(error.read())) from None

    def token(self, realm: str, **form: str) -> Any:
        """What a realm's token endpoint gives."""
        return self.ask("POST", f"/realms/{realm}/protocol/openid-connect/token", form=form)

    def admin(self, method: str, path: str, document: Any = None) -> Any:
        """One request to the admin API, below /admin/realms."""
        given = self.token("master", grant_type="password", client_id="admin-cli", username=ROOT, password=PASSWORD)
        return self.ask(method, f"/admin/realms{path}", token=given["access_token"], document=document)

    # --- what tests need -----------------------------------------------------------------------------------------

    def realm(self, name: str) -> str:
        """A new realm with one person, alice; its issuer."""
        self.admin("POST", "", {"realm": name, "enabled": True, "sslRequired": "all"})
        self.person(name, "alice", "correct horse")
        return f"{self.public}/realms/{name}"

    def person(self, realm: str, name: str, password: str) -> None:
        credentials = [{"type": "password", "value": password, "temporary": False}]
        about = {"firstName": name, "lastName": name, "email": f"{name}@acme.test", "emailVerified": True}
        self.admin("POST", f"/{realm}/users", {"username": name, "enabled": True, "credentials": credentials, **about})

    def clients(self, realm: str) -> dict[str, Any]:
        """The clients of a realm that Keycloak did not make itself, by id."""
        own = {"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console"}
        found = self.admin("GET", f"/{realm}/clients")
        return {each["clientId"]: each for each in found if each["clientId"] not in own}

    def initial_token(self, realm: str, count: int = 100, seconds: int = 3600) -> str:
        """An initial access token (RFC 7591, 3)."""
        asked = {"count": count, "expiration": seconds}
        return str(self.admin("POST", f"/{realm}/clients-initial-access", asked)["token"])

    def service_client(self, realm: str, name: str, secret: str, *roles: str) -> None:
        """A client that acts for itself, with these roles for its own realm."""
        self.admin("POST", f"/{realm}/clients", {"clientId": name, "secret": secret, "serviceAccountsEnabled": True})
        (made,) = self.admin("GET", f"/{realm}/clients?clientId={name}")
        self.give_roles(
            realm, self.admin("GET", f"/{realm}/clients/{made['id']}/service-account-user")["username"], *roles
        )

    def give_roles(self, realm: str, person: str, *roles: str) -> None:
        """Lets somebody manage the realm they are in, as far as these roles say."""
        (user,) = self.admin("GET", f"/{realm}/users?exact=true&username={person}")
        (manager,) = self.admin("GET", f"/{realm}/clients?clientId=realm-management")
        granted = [self.admin("GET", f"/{realm}/clients/{manager['id']}/roles/{role}") for role in roles]
        self.admin("POST", f"/{realm}/users/{user['id']}/role-mappings/clients/{manager['id']}", granted)

    def log_in(self, realm: str, client: str, redirect: str, password: str = "correct horse") -> str:
        """Goes through the log-in form as alice would; the code the application is given. A Refusal where there is
        none."""
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        opener = urllib.request.build_opener(cookies, urllib.request.HTTPSHandler(context=self.context), Stay())
        asked = {"response_type": "code", "client_id": client, "redirect_uri": redirect, "scope": "openid"}
        query = urllib.parse.urlencode(asked)
        status, page, _ = visit(opener, f"{self.url}/realms/{realm}/protocol/openid-connect/auth?{query}")
        form = re.search(r'action="([^"]+)"', page)
        if form is None:
            raise Refusal(status, told(page))
        person = urllib.parse.urlencode({"username": "alice", "password": password}).encode()
        status, page, location = visit(opener, html.unescape(form[1]), person)
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query).get("code")
        if status not in REDIRECTS or code is None:
            raise Refusal(status, told(page))
        assert location.startswith(redirect), location
        return code[0]

    def redeem(self, realm: str, client: str, secret: str, code: str, redirect: str) -> Any:
        """What an application does with a code: the tokens."""
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        return self.token(realm, client_id=client, client_secret=secret, **given)


def told(page: str) -> str:
    """What a page tells the person."""
    found = re.search(r'(?:class="instruction"|id="input-error[^>]*)>(?:\s*<[^>]*>)*\s*([^<]+)<', page)
    return found[1].strip() if found else "nothing"


class Stay(urllib.request.HTTPRedirectHandler):
    """Shows where a browser would be sent to."""

    def redirect_request(self, *_: Any) -> None:
        return None


def visit(opener: urllib.request.OpenerDirector, address: str, form: bytes | None = None) -> tuple[int, str, str]:
    try:
        answer = opener.open(address, form, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode(errors="replace"), answer.headers.get("Location", "")


def parsed(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode(errors="replace")
