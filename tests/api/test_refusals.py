"""Bad objects are refused by the API server itself, with the field, the reason and the way out."""

import copy
import re
from typing import Any

import pytest
from realserver import MERGE, Object, Server, collection_of

pytestmark = pytest.mark.apiserver


def made(kind: str, spec: Any = None, name: str = "good", **metadata: Any) -> Object:
    """An object of a kind; valid unless `spec` or the name are not."""
    group, minimal = MINIMAL[kind]
    return {
        "apiVersion": f"{group}/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": minimal if spec is None else spec,
    }


MINIMAL: dict[str, tuple[str, Object]] = {
    "PostgreSQL": ("database.libre.sh", {}),
    "Redis": ("cache.libre.sh", {}),
    "Bucket": ("objectstore.libre.sh", {}),
    "SMTPAccount": ("email.libre.sh", {}),
    "OIDCClient": ("identity.libre.sh", {"parameters": {"redirectUris": ["https://chat.example.org/callback"]}}),
    "ServiceClass": ("services.libre.sh", {"claimKind": "PostgreSQL", "driver": "embedded"}),
    "AppProfile": ("apps.libre.sh", {"appKind": "Matrix"}),
    "CollaboraClaim": ("apps.libre.sh", {}),
    "Matrix": ("apps.libre.sh", {"host": "chat.example.org"}),
}

HOST = "must be a DNS name such as chat.example.org"
SIZE = "must be a size above zero with a unit: 500M and 5G, or in powers of two 500Mi and 5Gi"
NAMED = "Services and Secrets made for this object are named after it"
ONE_OF = "set at most one of className, claim and secret"
REF = "must be the name of an object"

CREATED: dict[str, tuple[Object, str]] = {
    "a host in capitals": (made("Matrix", {"host": "Chat.example.org"}), f"spec.host: Invalid value: .*{HOST}"),
    "a host with an underscore": (made("Matrix", {"host": "my_chat.example.org"}), "spec.host: .*no underscore"),
    "a host with a dot at the end": (made("Matrix", {"host": "chat.example.org."}), "spec.host: .*dot at the end"),
    "a host with a port": (made("Matrix", {"host": "chat.example.org:8448"}), "spec.host: .*port"),
    "a host that is an address": (made("Matrix", {"host": "192.0.2.7"}), "spec.host: .*IP address"),
    "a host of one part": (made("Matrix", {"host": "localhost"}), "spec.host: .*two or more parts"),
    "a host part that is too long": (made("Matrix", {"host": f"{'a' * 64}.example.org"}), f"spec.host: .*{HOST}"),
    "a host that is too long": (made("Matrix", {"host": ".".join(["abcdefgh"] * 30)}), "spec.host: Too long"),
    "an empty host": (made("Matrix", {"host": ""}), "spec.host"),
    "a bad server name": (made("Matrix", {"host": "a.org", "serverName": "-x.org"}), f"spec.serverName: .*{HOST}"),
    "a bad host of the web client": (made("Matrix", {"webClient": {"host": "x y"}}), f"spec.webClient.host: .*{HOST}"),
    "no host": (made("Matrix", {"settings": {}}), "spec.host: Required value: the name people reach"),
    "one host for two": (
        made("Matrix", {"host": "a.org", "webClient": {"host": "a.org"}}),
        "spec.webClient.host: Forbidden: .*needs a name of its own",
    ),
    "a web client without a host": (made("Matrix", {"webClient": {}}), "spec.webClient.host: Required"),
    "a class and a claim": (
        made("Matrix", {"database": {"className": "a", "claim": "b"}}),
        f"spec.database: Forbidden: {ONE_OF}",
    ),
    "a claim and a secret": (
        made("Matrix", {"cache": {"claim": "a", "secret": "b"}}),
        f"spec.cache: Forbidden: {ONE_OF}",
    ),
    "a class, a claim and a secret": (
        made("Matrix", {"objectStore": {"className": "a", "claim": "b", "secret": "c"}}),
        f"spec.objectStore: Forbidden: {ONE_OF}",
    ),
    "a namespace without a claim": (
        made("Matrix", {"host": "a.org", "database": {"namespace": "data"}}),
        "spec.database.namespace: Forbidden: .*name it in claim",
    ),
    "a secret of another namespace": (
        made("Matrix", {"host": "a.org", "database": {"secret": "a", "namespace": "data"}}),
        "spec.database.namespace: Forbidden: .*Secrets and classes are not taken from other namespaces",
    ),
    "a namespace that is none": (
        made("Matrix", {"host": "a.org", "database": {"claim": "a", "namespace": "Data.x"}}),
        "spec.database.namespace: .*must be the name of a namespace",
    ),
    "a grant to all and to some": (
        made("PostgreSQL", {"allowedNamespaces": {"all": True, "names": ["acme"]}}),
        "spec.allowedNamespaces.all: Forbidden: all: true already allows every namespace",
    ),
    "a grant to all and by label": (
        made(
            "ServiceClass",
            {
                "claimKind": "Redis",
                "driver": "embedded",
                "allowedNamespaces": {"all": True, "matchLabels": {"tier": "paid"}},
            },
        ),
        "spec.allowedNamespaces.all: Forbidden: all: true already allows every namespace",
    ),
    "a grant to no namespace's name": (
        made("Redis", {"allowedNamespaces": {"names": ["*"]}}),
        r"spec.allowedNamespaces.names\[0\]: .*must be the name of a namespace",
    ),
    "a grant that names one twice": (
        made("Redis", {"allowedNamespaces": {"names": ["a", "a"]}}),
        r"spec.allowedNamespaces.names\[1\]: Duplicate value",
    ),
    "a reference without a name": (
        made("CollaboraClaim", {"appRef": {"namespace": "acme"}}),
        "spec.appRef.name: Required value",
    ),
    "a reference to a name that is none": (
        made("CollaboraClaim", {"appRef": {"name": "My Office"}}),
        f"spec.appRef.name: .*{REF}",
    ),
    "a secret in capitals": (made("Matrix", {"mail": {"secret": "MyMail"}}), f"spec.mail.secret: .*{REF}"),
    "two certificates": (
        made("Matrix", {"ingress": {"tls": {"secretName": "a", "clusterIssuer": "b"}}}),
        "spec.ingress.tls: Forbidden: set secretName .* or clusterIssuer .* not both",
    ),
    "no way to log in": (
        made("Matrix", {"host": "a.org", "settings": {"passwordLogin": False}}),
        r"spec.settings.passwordLogin: Forbidden: .*set login \(login: {} takes the default class\) or name",
    ),
    "an unknown choice": (
        made("Matrix", {"settings": {"registration": "Sometimes"}}),
        'spec.settings.registration: Unsupported value: "Sometimes": supported values: "Closed", "Open"',
    ),
    "a size without a unit": (made("Matrix", {"settings": {"maxUploadSize": "50"}}), f"maxUploadSize: .*{SIZE}"),
    "a setting that does not exist": (
        made("Matrix", {"settings": {"colour": "red"}}),
        'strict decoding error: unknown field "spec.settings.colour"',
    ),
    "what does not work yet": (
        made("Matrix", {"topology": "HighlyAvailable"}),
        'strict decoding error: unknown field "spec.topology"',
    ),
    "a word instead of a switch": (
        made("Matrix", {"suspend": "yes"}),
        'spec.suspend: .* must be of type boolean: "string"',
    ),
    "an application whose name is too long": (
        made("Matrix", name="a" * 41),
        f"metadata.name: Forbidden: may have at most 40 characters.*{NAMED}",
    ),
    "an application with a dot in its name": (made("Matrix", name="chat.one"), f"metadata.name: Forbidden: .*{NAMED}"),
    "an application whose name begins with a digit": (
        made("Matrix", name="1chat"),
        f"metadata.name: Forbidden: .*{NAMED}",
    ),
    "an application without a spec": (
        {"apiVersion": "apps.libre.sh/v1alpha1", "kind": "Matrix", "metadata": {"name": "x"}},
        "spec: Required value",
    ),
    "a version with a space": (
        made("Matrix", {"version": "1 163"}),
        "spec.version: .*must be a version or the beginning",
    ),
    "an unknown deletion policy": (
        made("Matrix", {"deletionPolicy": "Keep"}),
        'spec.deletionPolicy: Unsupported value: "Keep": supported values: "Delete", "Retain"',
    ),
    "a claim whose name is too long": (
        made("PostgreSQL", name="a" * 47),
        f"metadata.name: Forbidden: may have at most 46 characters.*{NAMED}",
    ),
    "two spellings of different classes": (
        made("PostgreSQL", {"className": "a", "compositionRef": {"name": "b"}}),
        "spec: .*compositionRef is another spelling of className, set one of them",
    ),
    "a capability that is none": (
        made("PostgreSQL", {"requires": ["ha", "fast"]}),
        r'spec.requires\[1\]: Unsupported value: "fast": supported values: .*"ha".*"pitr"',
    ),
    "a capability that is only found out of a service": (
        made("Bucket", {"requires": ["scoped-key"]}),
        r"spec.requires\[0\]: Unsupported value",
    ),
    "a capability twice": (
        made("OIDCClient", MINIMAL["OIDCClient"][1] | {"requires": ["users", "users"]}),
        r'spec.requires\[1\]: Duplicate value: "users"',
    ),
    "a capability that is not in a list": (made("SMTPAccount", {"requires": "relay"}), "spec.requires: Invalid value"),
    "an application's service with a capability that is none": (
        made("Matrix", {"host": "a.org", "cache": {"requires": ["HA"]}}),
        r'spec.cache.requires\[0\]: Unsupported value: "HA"',
    ),
    "an application's service with a capability twice": (
        made("Matrix", {"host": "a.org", "mail": {"requires": ["relay", "relay"]}}),
        r'spec.mail.requires\[1\]: Duplicate value: "relay"',
    ),
    "what stands behind a Secret cannot be told": (
        made("Matrix", {"host": "a.org", "database": {"secret": "given", "requires": ["ha"]}}),
        "spec.database.requires: Forbidden: requires cannot be held against a Secret, .*take requires out, or name a",
    ),
    "a class in capitals": (made("Redis", {"className": "Standard"}), f"spec.className: .*{REF}"),
    "an unknown version of PostgreSQL": (
        made("PostgreSQL", {"parameters": {"version": "9.6"}}),
        'spec.parameters.version: Unsupported value: "9.6": supported values: "13", "14", "15", "16", "17", "18"',
    ),
    "a version that is a number": (
        made("PostgreSQL", {"parameters": {"version": 17}}),
        'spec.parameters.version: .* must be of type string: "integer"',
    ),
    "a size that is no size": (
        made("PostgreSQL", {"parameters": {"storage": "5 GB"}}),
        f'spec.parameters.storage: Invalid value: "5 GB": {SIZE}',
    ),
    "a size of nothing": (made("Bucket", {"parameters": {"storage": "0Gi"}}), f"spec.parameters.storage: .*{SIZE}"),
    "a negative size": (made("Bucket", {"parameters": {"storage": "-1Gi"}}), f"spec.parameters.storage: .*{SIZE}"),
    "a size that is a number": (
        made("Bucket", {"parameters": {"storage": 5}}),
        'spec.parameters.storage: .* must be of type string: "integer"',
    ),
    "too little room for a database": (
        made("PostgreSQL", {"parameters": {"storage": "5Mi"}}),
        "spec.parameters.storage: .*must be at least 256Mi",
    ),
    "a database that begins with its own data": (
        made("PostgreSQL", {"source": {"claim": {"name": "good"}}}),
        "spec.source.claim.name: .*a claim cannot begin with its own data",
    ),
    "a moment of nothing": (
        made("PostgreSQL", {"source": {"at": "2026-01-31T12:00:00Z"}}),
        "spec.source.claim: Required value",
    ),
    "a moment in words": (
        made("PostgreSQL", {"source": {"claim": {"name": "old"}, "at": "yesterday"}}),
        "spec.source.at: .*must be of type date-time",
    ),
    "a moment without a time zone": (
        made("PostgreSQL", {"source": {"claim": {"name": "old"}, "at": "2026-01-31T12:00:00"}}),
        "spec.source.at: .*must be of type date-time",
    ),
    "a moment long ago": (
        made("PostgreSQL", {"source": {"claim": {"name": "old"}, "at": "1999-12-31T23:59:59Z"}}),
        "spec.source.at: .*must be a moment of this century",
    ),
    "a source of another namespace": (
        made("PostgreSQL", {"source": {"claim": {"name": "old", "namespace": "acme"}}}),
        'strict decoding error: unknown field "spec.source.claim.namespace"',
    ),
    "a source that does not work yet": (
        made("PostgreSQL", {"source": {"backup": {"name": "nightly"}}}),
        'strict decoding error: unknown field "spec.source.backup"',
    ),
    "a source of a kind that has none": (
        made("Redis", {"source": {"claim": {"name": "old"}}}),
        'strict decoding error: unknown field "spec.source"',
    ),
    "an extension twice": (
        made("PostgreSQL", {"parameters": {"extensions": ["pg_trgm", "pg_trgm"]}}),
        r'spec.parameters.extensions\[1\]: Duplicate value: "pg_trgm"',
    ),
    "an extension that could be SQL": (
        made("PostgreSQL", {"parameters": {"extensions": ["a; drop table b"]}}),
        r"spec.parameters.extensions\[0\]: .*must be the name of an extension",
    ),
    "a locale that could be an option": (
        made("PostgreSQL", {"parameters": {"locale": "C --x"}}),
        "spec.parameters.locale: .*must be the name of a locale",
    ),
    "a secret to write to without a name": (
        made("PostgreSQL", {"writeConnectionSecretToRef": {}}),
        "spec.writeConnectionSecretToRef.name: Required value",
    ),
    "no address to return to": (
        made("OIDCClient", {"parameters": {"redirectUris": []}}),
        "spec.parameters.redirectUris: .*should have at least 1 items",
    ),
    "no parameters where some are needed": (made("OIDCClient", {}), "spec.parameters: Required value"),
    "an address with a wildcard": (
        made("OIDCClient", {"parameters": {"redirectUris": ["https://*.example.org/"]}}),
        r"spec.parameters.redirectUris\[0\]: .*without spaces, wildcards or a fragment",
    ),
    "an address that is none": (
        made("OIDCClient", {"parameters": {"redirectUris": ["javascript:alert(1)"]}}),
        r"spec.parameters.redirectUris\[0\]: .*must be a whole address such as https://",
    ),
    "a sender with a name": (
        made("SMTPAccount", {"parameters": {"sender": "Chat <chat@example.org>"}}),
        "spec.parameters.sender: .*must be a bare mail address",
    ),
    "a class for an unknown kind of claim": (
        made("ServiceClass", {"claimKind": "MySQL", "driver": "embedded"}),
        'spec.claimKind: Unsupported value: "MySQL"',
    ),
    "a class without a driver": (made("ServiceClass", {"claimKind": "Redis"}), "spec.driver: Required value"),
    "a driver in capitals": (
        made("ServiceClass", {"claimKind": "Redis", "driver": "Embedded"}),
        "spec.driver: .*must be the name of a driver such as embedded, static or example.org/hosted",
    ),
    "a profile for something that is no kind": (
        made("AppProfile", {"appKind": "matrix"}),
        "spec.appKind: .*must be a kind of application such as Matrix",
    ),
    "a locked path that is none": (
        made("AppProfile", {"appKind": "Matrix", "locked": [".spec.settings"]}),
        r"spec.locked\[0\]: .*names joined by dots",
    ),
}


@pytest.mark.parametrize(("obj", "why"), CREATED.values(), ids=CREATED)
def test_refused(server: Server, obj: Object, why: str) -> None:
    status, answer = server.post(obj, dry_run=True)
    assert status in (400, 422), answer
    assert re.search(why, answer["message"]), answer["message"]
    assert "evaluated to error" not in answer["message"]


@pytest.mark.parametrize("kind", MINIMAL)
def test_the_least_that_can_be_said_is_enough(server: Server, kind: str) -> None:
    status, answer = server.post(made(kind), dry_run=True)
    assert status == 201, answer["message"]


GOOD: dict[str, Object] = {
    "a reference to nothing in particular": made("CollaboraClaim", {}),
    "a reference to another namespace": made("CollaboraClaim", {"appRef": {"name": "a", "namespace": "b"}}),
    "a claim of another namespace": made("Matrix", {"host": "a.org", "database": {"claim": "a", "namespace": "b"}}),
    "a claim for all": made("Bucket", {"allowedNamespaces": {"all": True}}),
    "a class for nobody": made("ServiceClass", {"claimKind": "Redis", "driver": "embedded", "allowedNamespaces": {}}),
    "the longest name of an application": made("Matrix", name="a" * 40),
    "the longest name of a claim": made("PostgreSQL", name="a" * 46),
    "a password is not needed with a provider": made(
        "Matrix", {"host": "a.org", "login": {}, "settings": {"passwordLogin": False}}
    ),
    "a password is not needed where the profile may name a provider": made(
        "Matrix", {"host": "a.org", "profile": "coop", "settings": {"passwordLogin": False}}
    ),
    "a host of the local machine": made("Matrix", {"host": "matrix.localhost"}),
    "an international host": made("Matrix", {"host": "xn--mnchen-3ya.xn--p1ai"}),
    "both spellings of one class": made("PostgreSQL", {"className": "a", "compositionRef": {"name": "a"}}),
    "capabilities of a service": made("Redis", {"requires": ["quota", "ha"]}),
    "capabilities of an application's services": made(
        "Matrix", {"host": "a.org", "database": {"requires": ["ha"]}, "cache": {"claim": "b", "requires": ["quota"]}}
    ),
    "a fraction of a size": made("PostgreSQL", {"parameters": {"storage": "1.5Gi"}}),
    "a class of an outside controller": made("ServiceClass", {"claimKind": "Redis", "driver": "example.org/hosted"}),
    "a class with parameters of its own": made(
        "ServiceClass", {"claimKind": "Redis", "driver": "embedded", "parameters": {"deep": {"er": [1, "two"]}}}
    ),
}


@pytest.mark.parametrize("obj", GOOD.values(), ids=GOOD)
def test_accepted(server: Server, obj: Object) -> None:
    status, answer = server.post(obj, dry_run=True)
    assert status == 201, answer["message"]


def test_defaults_are_filled_in_for_claims_and_not_for_applications(server: Server) -> None:
    _, claim = server.post(made("PostgreSQL"), dry_run=True)
    assert claim["spec"] == {"parameters": {"locale": "C", "storage": "5Gi", "version": "17"}}
    _, partly = server.post(made("PostgreSQL", {"parameters": {"storage": "9Gi"}}), dry_run=True)
    assert partly["spec"]["parameters"] == {"locale": "C", "storage": "9Gi", "version": "17"}
    spec = {"host": "a.org", "settings": {}}
    _, app = server.post(made("Matrix", copy.deepcopy(spec)), dry_run=True)
    assert app["spec"] == spec, "a filled in default would hide what a profile says"


CLASS = "className cannot be changed: the class in status.className already serves this claim"
COMPOSITION = "compositionRef cannot be changed: the class in status.className already serves this claim"
SERVED: Object = {"className": "a"}
BY_A_DRIVER: Object = {"className": "a", "driver": "cloudnative-pg"}
OLD: Object = {"claim": {"name": "old"}}
SOURCE = "spec.source: Forbidden: source cannot be changed: the claim is served.*Make a new claim with the other source"
NAME_STAYS = "serverName cannot be changed"
HOST_STAYS = "host cannot be changed while it is also the server name"

# what: (object, its status, a merge patch of its spec, what is answered or "" where it is accepted)
CHANGED: dict[str, tuple[Object, Object, Object, str]] = {
    "storage grows": (made("PostgreSQL"), {}, {"parameters": {"storage": "6Gi"}}, ""),
    "storage shrinks": (
        made("PostgreSQL", {"parameters": {"storage": "6Gi"}}), {}, {"parameters": {"storage": "5Gi"}},
        "spec.parameters.storage: Forbidden: storage can grow but not shrink.*make a smaller claim and move the data",
    ),
    "storage shrinks to another unit": (
        made("Bucket", {"parameters": {"storage": "5Gi"}}), {}, {"parameters": {"storage": "5G"}}, "not shrink",
    ),
    "storage is the same in another unit": (
        made("Bucket", {"parameters": {"storage": "5Gi"}}), {}, {"parameters": {"storage": "5120Mi"}}, "",
    ),
    "storage shrinks to the default by saying nothing": (
        made("PostgreSQL", {"parameters": {"storage": "6Gi"}}), {}, {"parameters": None}, "not shrink",
    ),
    "storage becomes nonsense": (made("PostgreSQL"), {}, {"parameters": {"storage": "lots"}}, SIZE),
    "locale changes": (
        made("PostgreSQL"), {}, {"parameters": {"locale": "fr_FR.UTF-8"}},
        "spec.parameters.locale: Forbidden: locale cannot be changed",
    ),
    "an extension is added": (made("PostgreSQL"), {}, {"parameters": {"extensions": ["pg_trgm"]}}, ""),
    "more is required while a class serves": (made("Redis", {"className": "a"}), SERVED, {"requires": ["ha"]}, ""),
    "less is required while a class serves": (
        made("Redis", {"className": "a", "requires": ["ha"]}), SERVED, {"requires": None}, "",
    ),
    "a class is chosen while none serves": (made("Redis"), {}, {"className": "a"}, ""),
    "a misspelt class is corrected while none serves": (made("Redis", {"className": "a"}), {}, {"className": "b"}, ""),
    "the class changes": (
        made("Redis", {"className": "a"}), SERVED, {"className": "b"},
        f"spec.className: Forbidden: {CLASS}. Make a new claim of the other class and move the data to it",
    ),
    "the class is taken away": (made("Redis", {"className": "a"}), SERVED, {"className": None}, CLASS),
    "the class that serves is named": (made("Redis"), SERVED, {"className": "a"}, ""),
    "another class than the default that serves is named": (made("Redis"), SERVED, {"className": "b"}, CLASS),
    "the class gets its other spelling": (
        made("Redis", {"className": "a"}), SERVED, {"className": None, "compositionRef": {"name": "a"}}, "",
    ),
    "the class changes with its spelling": (
        made("Redis", {"className": "a"}), SERVED, {"className": None, "compositionRef": {"name": "b"}}, COMPOSITION,
    ),
    "the composition changes": (
        made("Redis", {"compositionRef": {"name": "a"}}), SERVED, {"compositionRef": {"name": "b"}},
        f"spec.compositionRef: Forbidden: {COMPOSITION}",
    ),
    "the composition is taken away": (
        made("Redis", {"compositionRef": {"name": "a"}}), SERVED, {"compositionRef": None}, COMPOSITION,
    ),
    "the composition gets its other spelling": (
        made("Redis", {"compositionRef": {"name": "a"}}), SERVED, {"className": "a", "compositionRef": None}, "",
    ),
    "a misspelt source is corrected while nobody serves": (
        made("PostgreSQL", {"source": {"claim": {"name": "ohld"}}}), {}, {"source": OLD}, "",
    ),
    "the source changes": (
        made("PostgreSQL", {"source": OLD}), BY_A_DRIVER, {"source": {"claim": {"name": "older"}}}, SOURCE,
    ),
    "a moment is added to the source": (
        made("PostgreSQL", {"source": OLD}), BY_A_DRIVER, {"source": {"at": "2026-01-31T12:00:00Z"}}, SOURCE,
    ),
    "the source is taken away": (made("PostgreSQL", {"source": OLD}), BY_A_DRIVER, {"source": None}, SOURCE),
    "a source comes later": (made("PostgreSQL"), BY_A_DRIVER, {"source": OLD}, SOURCE),
    "something else changes beside a source": (
        made("PostgreSQL", {"source": OLD}), BY_A_DRIVER, {"parameters": {"storage": "9Gi"}}, "",
    ),
    "something else changes after a source is said again": (
        made("PostgreSQL", {"source": OLD}), BY_A_DRIVER, {"source": OLD, "deletionPolicy": "Delete"}, "",
    ),
    "something else changes while another class serves": (
        made("Redis", {"className": "b"}), SERVED, {"parameters": {"memory": "1Gi"}}, "",
    ),
    "a class changes its kind of claim": (
        made("ServiceClass"), {}, {"claimKind": "Redis"}, "spec.claimKind: Forbidden: .*Make another class",
    ),
    "a class changes its driver": (
        made("ServiceClass"), {}, {"driver": "static"}, "spec.driver: Forbidden: .*Make another class",
    ),
    "a class changes its parameters": (made("ServiceClass"), {}, {"parameters": {"memory": "1Gi"}}, ""),
    "a profile changes its kind": (
        made("AppProfile"), {}, {"appKind": "Wiki"}, "spec.appKind: Forbidden: .*Make another profile",
    ),
    "the server name changes": (
        made("Matrix", {"host": "a.org", "serverName": "b.org"}), {}, {"serverName": "c.org"},
        f"spec.serverName: Forbidden: {NAME_STAYS}.*Make another Matrix",
    ),
    "the server name is taken away": (
        made("Matrix", {"host": "a.org", "serverName": "b.org"}), {}, {"serverName": None}, NAME_STAYS,
    ),
    "the server name is given another value than the host": (
        made("Matrix", {"host": "a.org"}), {}, {"serverName": "b.org"}, NAME_STAYS,
    ),
    "the server name is said as what it is": (made("Matrix", {"host": "a.org"}), {}, {"serverName": "a.org"}, ""),
    "the host changes while it is the server name": (
        made("Matrix", {"host": "a.org"}), {}, {"host": "b.org"},
        f"spec.host: Forbidden: {HOST_STAYS}.*set serverName to the present host as well",
    ),
    "the host is taken away while it is the server name": (
        made("Matrix", {"host": "a.org"}), {}, {"host": None}, f"spec.host: Required.*{HOST_STAYS}",
    ),
    "the host changes and the server name keeps it": (
        made("Matrix", {"host": "a.org"}), {}, {"host": "b.org", "serverName": "a.org"}, "",
    ),
    "the host changes beside a server name": (
        made("Matrix", {"host": "a.org", "serverName": "b.org"}), {}, {"host": "c.org"}, "",
    ),
    "settings change": (made("Matrix"), {}, {"settings": {"registration": "Open"}, "suspend": True}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("obj", "observed", "patch", "why"), CHANGED.values(), ids=CHANGED)
def test_changes(server: Server, obj: Object, observed: Object, patch: Object, why: str) -> None:
    status, created = server.post(obj)
    assert status == 201, created["message"]
    path = f"{collection_of(obj)}/{obj['metadata']['name']}"
    try:
        if observed:
            status, answer = server.call("PATCH", f"{path}/status", {"status": observed}, MERGE)
            assert status == 200, answer["message"]
        status, answer = server.call("PATCH", path, {"spec": patch}, MERGE)
        assert status == (422 if why else 200), answer
        assert re.search(why, answer.get("message", "")), answer["message"]
        assert "evaluated to error" not in answer.get("message", "")
    finally:
        server.call("DELETE", path)


def test_an_object_from_before_a_rule_can_still_be_looked_after(server: Server) -> None:
    """Rules meet objects that were stored before them: what does not touch the bad part must go on working."""
    obj = made("Redis", {"className": "b"})
    path = f"{collection_of(obj)}/good"
    server.post(obj)
    try:
        server.call("PATCH", f"{path}/status", {"status": {"className": "a"}}, MERGE)
        for body in (
            {"metadata": {"finalizers": ["libre.sh/finalizer"]}},
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"finalizers": None}},
        ):
            status, answer = server.call("PATCH", path, body, MERGE)
            assert status == 200, answer["message"]
        status, answer = server.call("PATCH", f"{path}/status", {"status": {"className": "b"}}, MERGE)
        assert status == 200, answer["message"]
    finally:
        server.call("DELETE", path)
