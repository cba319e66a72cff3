"""Gives back what a server chose: applies it to the one Secret that the pod's own account may patch.

By server-side apply with a field manager of its own: the Secret then holds just what is given, and whatever this
manager gave before and does not give again is gone. Nothing is ever read.
"""

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from libresh_errand.errand import CONNECT_TIMEOUT, Trouble

ACCOUNT = Path(os.environ.get("LIBRESH_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
MANAGER = "libresh-errand"


def give(errand, values, *, notes=None, trial=False):
    """Makes the Secret hold these texts, all of them secret from now on, and these annotations.

    On trial nothing is written: it is seen whether it could be.
    """
    for value in values.values():
        errand.hide(value)
    namespace, _, name = os.environ["LIBRESH_GIVES"].partition("/")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "annotations": notes or {}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())},
    }
    path = f"/api/v1/namespaces/{namespace}/secrets/{name}?fieldManager={MANAGER}&force=true"
    path += "&dryRun=All" if trial else ""
    request = urllib.request.Request(f"https://{server()}{path}", json.dumps(secret).encode(), method="PATCH")
    request.add_header("Content-Type", "application/apply-patch+yaml")
    request.add_header("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json")
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text().strip()}")
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # Many a cluster's authority lacks what Python 3.13 began to ask for, and nobody but its owner could make another.
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # Proxies are for the way out; the API server is within.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust), Stay()
    )
    try:
        opener.open(request, timeout=CONNECT_TIMEOUT).close()
    except urllib.error.HTTPError as error:
        raise Trouble(f"the API server does not take the credentials: HTTP status {error.code}") from None
    except OSError as error:
        raise Trouble(f"the API server cannot be reached: {reason_of(error)}") from None


class Stay(urllib.request.HTTPRedirectHandler):
    """Secrets and the token go to the API server and nowhere else."""

    def redirect_request(self, *_):
        return None


def server():
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(error):
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or type(reason).__name__
