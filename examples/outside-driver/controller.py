"""Serves PostgreSQL claims of classes with the driver example.org/hosted: databases that a hoster sells over HTTP.

Everything docs/outside-drivers.md asks of a controller, with Python's standard library alone. In a pod it uses its
ServiceAccount; elsewhere `API=http://127.0.0.1:8001` and `kubectl proxy`. HOSTER_TOKEN is the hoster's, from a Secret.
The hoster's API: PUT {url}/databases/{id} makes a database or says what it made before, DELETE removes it.
"""

import base64
import json
import os
import pathlib
import ssl
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import quote

DRIVER = MANAGER = FINALIZER = "example.org/hosted"
CLAIMS = "/apis/database.libre.sh/v1alpha1"
CLASSES = "/apis/services.libre.sh/v1alpha1/serviceclasses"
API = os.environ.get("API", "https://kubernetes.default.svc")
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
RESYNC = int(os.environ.get("RESYNC", "30"))  # all is looked at so often: a Secret that somebody deleted comes back


def send(method, url, body=None, content="application/json", token="", ca=None, timeout=15):
    headers = {"Content-Type": content, "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers, method=method)
    context = ssl.create_default_context(cafile=ca) if url.startswith("https") else None
    return urllib.request.urlopen(request, timeout=timeout, context=context)


def kubernetes(method, path, body=None, content="application/json", timeout=15):
    inside = API.startswith("https")
    token, ca = ((ACCOUNT / "token").read_text(), ACCOUNT / "ca.crt") if inside else ("", None)
    return send(method, API + path, body, content, token, ca, timeout)


def get(path):
    try:
        with kubernetes("GET", path) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise


def apply(path, obj, **metadata):
    """Server-side apply under our own name: what we leave out of it and nobody else owns goes away."""
    query = f"?fieldManager={quote(MANAGER, safe='')}&force=true"
    body = obj | {"metadata": metadata}
    kubernetes("PATCH", path + query, body, "application/apply-patch+yaml").close()


def apply_to(obj, subresource="", fields=None, **metadata):
    """To a claim or a class. The uid keeps us from making a deleted one anew."""
    metadata |= {key: obj["metadata"][key] for key in ("name", "namespace", "uid") if key in obj["metadata"]}
    path = f"{CLASSES}/{metadata['name']}"
    if obj["kind"] == "PostgreSQL":
        path = f"{CLAIMS}/namespaces/{metadata['namespace']}/postgresqls/{metadata['name']}"
    apply(path + subresource, {key: obj[key] for key in ("apiVersion", "kind")} | (fields or {}), **metadata)


def report(obj, status, reason, message, **fields):
    """Our part of a status. The condition's time moves only with its status: saying the same again writes nothing."""
    known, generation = obj.get("status", {}).get("conditions", []), obj["metadata"]["generation"]
    since = [c["lastTransitionTime"] for c in known if c["type"] == "Ready" and c["status"] == status]
    ready = {"type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": generation}
    ready["lastTransitionTime"] = since[0] if since else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields |= {"observedGeneration": generation, "conditions": [ready], "capabilities": ["quota"]}
    apply_to(obj, "/status", {"status": fields})


def hoster(method, claim):
    """The id is a function of the claim's name, so that another claim of the same name finds the data again."""
    meta = claim["metadata"]
    url = f"{claim['status']['parameters']['url']}/databases/{meta['namespace']}.{meta['name']}"
    with send(method, url, token=os.environ["HOSTER_TOKEN"]) as answer:
        return json.load(answer)


def write_secret(claim, name, values):
    """Writes the connection secret; False if somebody else's Secret bears its name."""
    path = f"/api/v1/namespaces/{claim['metadata']['namespace']}/secrets/{name}"
    owner = {key: claim[key] for key in ("apiVersion", "kind")} | {"controller": True}
    owner |= {key: claim["metadata"][key] for key in ("name", "uid")}
    if (found := get(path)) and owner not in found["metadata"].get("ownerReferences", []):
        return False
    data = {key: base64.b64encode(str(value).encode()).decode() for key, value in values.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "servicebinding.io/postgresql", "data": data}
    apply(path, secret, name=name, ownerReferences=[owner])
    return True


def serve(claim):
    """Brings one claim to where it should be. It may die anywhere: done again, it goes on from there."""
    apply_to(claim, finalizers=[FINALIZER])  # before anything is made that must be unmade
    try:
        made = hoster("PUT", claim)
    except OSError as error:
        if "binding" not in claim["status"]:  # what works goes on working while the hoster's API is away
            report(claim, "False", "HosterUnavailable", f"The hoster does not answer: {error}")
        raise
    wanted = claim["spec"].get("writeConnectionSecretToRef")
    name = wanted["name"] if wanted else f"{claim['metadata']['name']}-postgresql-connection"
    uri = "postgresql://{username}:{0}@{host}:{port}/{database}".format(quote(made["password"], safe=""), **made)
    if not write_secret(claim, name, made | {"type": "postgresql", "provider": "hosted", "uri": uri}):
        taken = f"spec.writeConnectionSecretToRef.name: the Secret {name} is not this claim's; choose another name"
        return report(claim, "False", "SecretTaken", taken)
    instance = {"driver": DRIVER, "ref": f"database {made['database']} at {made['host']}"}
    report(claim, "True", "Settled", "The hoster runs it", binding={"name": name}, instance=instance)


def let_go(claim):
    """What the claim itself says of its data counts first, then what libre.sh noted of the class."""
    policy = claim["spec"].get("deletionPolicy") or claim["status"].get("deletionPolicy", "Retain")
    if FINALIZER in claim["metadata"].get("finalizers", []):
        if policy == "Delete":
            hoster("DELETE", claim)
        apply_to(claim)  # without our finaliser: now it may disappear


def look_at(obj):
    """One object. Its trouble is no other's: what failed is tried again when all is looked at."""
    leaving, own = "deletionTimestamp" in obj["metadata"], obj.get("status", {}).get("driver") == DRIVER
    try:
        if obj["kind"] == "ServiceClass" and obj["spec"]["driver"] == DRIVER and not leaving:
            report(obj, "True", "Settled", "Serves claims")
        elif obj["kind"] == "PostgreSQL" and own:  # not before libre.sh has written down who serves it
            let_go(obj) if leaving else serve(obj)
    except (OSError, ValueError, KeyError) as error:
        print(f"{obj['kind']} {obj['metadata']['name']}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


while __name__ == "__main__":
    try:
        for path, kind in ((CLASSES, "ServiceClass"), (f"{CLAIMS}/postgresqls", "PostgreSQL")):
            found = get(path)
            for obj in found["items"]:
                look_at({"apiVersion": found["apiVersion"], "kind": kind} | obj)
        watch = f"{path}?watch=1&resourceVersion={found['metadata']['resourceVersion']}&timeoutSeconds={RESYNC}"
        with kubernetes("GET", watch, timeout=RESYNC + 15) as events:
            for event in map(json.loads, events):
                if event["type"] in ("ADDED", "MODIFIED"):
                    look_at(event["object"])
    except (OSError, ValueError) as error:  # the API server is away, or has forgotten so old a version
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        time.sleep(1)
