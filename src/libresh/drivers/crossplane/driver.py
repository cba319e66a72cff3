"""Any claim by Crossplane: each claim is a composite resource, or a claim to one, in the claim's namespace.

    claim ──patches──> composite (v2, namespaced) or claim (v1) ──> Crossplane composes what its definition says
                             │                                            │
        connection secret <──┴── its Secret, keys renamed by the class <──┘

Crossplane 2: a composite's machinery is below `spec.crossplane`, and its composition makes the Secret itself, by a name
of its own choosing (docs.crossplane.io v2.0, composition/composite-resources; guides/connection-details-composition).
Crossplane 1: a claim has `spec.compositionRef` and `spec.writeConnectionSecretToRef` (docs.crossplane.io v1.20,
concepts/claims, concepts/connection-details). Both say how they stand by the conditions Synced and Ready.
"""

import re
from copy import deepcopy
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from libresh.drivers import handed
from libresh.drivers.composition import checks, paths, render
from libresh.drivers.composition.connection import PARTS, SECRETS, URIS
from libresh.drivers.composition.model import Patch
from libresh.drivers.composition.paths import BadPath, Path
from libresh.drivers.composition.shape import Unfit, within
from libresh.drivers.connection import OPTIONAL, REQUIRED, TYPES, USUAL
from libresh.drivers.handed import Handed
from libresh.drivers.model import Ask, Provision, Seen, told_otherwise
from libresh.plan import actions
from libresh.plan.actions import From, Object, Ref, SecretKey, Template, Value
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting

SECRET_CLASHES = "SecretClashes"  # Crossplane would write the very Secret that the claim publishes
NOT_SYNCED = "NotSynced"
PATCHES = ("FromCompositeFieldPath", "CombineFromComposite")
MACHINERY = {
    "Composite": ("crossplane",),
    "Claim": (
        "compositionRef",
        "compositionSelector",
        "compositionRevisionRef",
        "compositionRevisionSelector",
        "compositionUpdatePolicy",
        "compositeDeletePolicy",
        "publishConnectionDetailsTo",
        "resourceRef",
        "writeConnectionSecretToRef",
    ),
}
"""Fields of a spec that are Crossplane's own: parameters say them, not patches."""
SECRET_NAME = re.compile(r"[-a-z0-9.]*%s[-a-z0-9.]*")
KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")

ApiVersion = Annotated[str, msgspec.Meta(pattern=f"^{checks.API_VERSION.pattern}$", max_length=253)]
Kind = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9]{0,62}$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]


class Connection(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Where the connection is."""

    secret_name: str = "%s-connection-details"
    """The Secret in the claim's namespace, with %s in place of the composite's or Crossplane claim's name."""
    secret_field: str | None = None
    """Of a composite: the field of its spec that takes that name, if its definition has one."""
    keys: dict[str, str] = {}
    """Published key: key of that Secret. Absent: the same."""
    values: dict[str, str] = {}
    """Published key: its value, where the Secret does not say it. Not for what is secret."""


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    claim_kind: ClassVar[str] = ""

    api_version: ApiVersion
    kind: Kind
    mode: Literal["Composite", "Claim"] = "Composite"
    """Composite: a namespaced composite resource of Crossplane 2. Claim: a claim of Crossplane 1."""
    composition: Name | None = None
    composition_selector: dict[str, str] = {}
    """Labels of the composition, in place of its name."""
    composition_update_policy: Literal["Automatic", "Manual"] | None = None
    spec: dict[str, Any] = {}
    """Fields that are the same for every claim."""
    patches: list[Patch] = []
    """From the libre.sh claim to the spec, as a composition's patches; see docs/composition.md."""
    connection: Connection = msgspec.field(default_factory=Connection)

    def __post_init__(self) -> None:
        if self.composition and self.composition_selector:
            raise Unfit("composition", "set one of composition and compositionSelector")
        check_connection(self.connection, self.claim_kind, self.mode)
        self.check_spec()
        for at, patch in enumerate(self.patches):
            with within(f"patches[{at}]"):
                self.check_patch(patch)

    def check_spec(self) -> None:
        for field in MACHINERY[self.mode]:
            if field in self.spec:
                raise Unfit(f"spec.{field}", "is Crossplane's own: the other parameters of the class say it")

    def check_patch(self, patch: Patch) -> None:
        """Whether a patch carries something of the claim into the spec, and nothing that Crossplane goes by."""
        if patch.type not in PATCHES:
            raise Unfit("type", f"{patch.type} means nothing here; there are {' and '.join(PATCHES)}")
        checks.check_patch(patch, self.base)
        target = paths.parse(patch.target)
        if target[0] != "spec" or len(target) < 2:
            raise Unfit("toFieldPath", "must be below spec")
        if target[1] in MACHINERY[self.mode] or target == secret_path(self.connection):
            raise Unfit("toFieldPath", f"{paths.show(target)} is Crossplane's own: the class's parameters say it")

    @property
    def base(self) -> Object:
        return {"apiVersion": self.api_version, "kind": self.kind, "spec": self.spec}


def secret_path(connection: Connection) -> Path | None:
    """The field that takes the Secret's name."""
    return paths.parse(connection.secret_field) if connection.secret_field else None


def check_connection(wish: Connection, claim_kind: str, mode: str) -> None:
    """Whether every key can come from somewhere, and secrets from a Secret only."""
    if not SECRET_NAME.fullmatch(wish.secret_name):
        raise Unfit(
            "connection.secretName",
            "must have one %s, which stands for the object's name, among lower-case letters, digits, hyphens and dots",
        )
    known = (*REQUIRED[claim_kind], *OPTIONAL.get(claim_kind, ()))
    for field, given in (("keys", wish.keys), ("values", wish.values)):
        for key, value in given.items():
            where = f"connection.{field}.{key}"
            if key not in known or key == "type":
                names = ", ".join(each for each in known if each != "type")
                raise Unfit(where, f"the connection of a {claim_kind} has the keys {names}")
            if field == "keys" and not KEY.fullmatch(value):
                raise Unfit(where, "must be the key of a Secret: letters, digits, hyphens, dots and underscores")
            if field == "values" and (key in SECRETS or key == "uri"):
                raise Unfit(where, "is secret: it must come from the Secret")
            if field == "values" and key in wish.keys:
                raise Unfit(where, "is in connection.keys, too: say it once")
    if wish.secret_field is None:
        return
    if mode == "Claim":
        raise Unfit("connection.secretField", "is for composites: a claim of Crossplane has a field of its own")
    try:
        path = paths.parse(wish.secret_field)
    except BadPath as error:
        raise Unfit("connection.secretField", str(error)) from None
    if path[0] != "spec" or len(path) < 2 or path[1] == "crossplane" or not all(isinstance(at, str) for at in path):
        raise Unfit("connection.secretField", "must be the path of a field below spec, such as spec.secretName")


class ByCrossplane:
    """Serves one kind of claim by a composite resource each."""

    name = "crossplane"
    watches = handed.WATCHES

    def __init__(self, claim_kind: str) -> None:
        self.claim_kind = claim_kind
        self.parameters = handed.parameters_for(claim_kind, Parameters)
        self.changes = told_otherwise(claim_kind, "the class's patches and Crossplane's composition say what follows")

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Nothing is known of what a composition can do."""
        return ()

    def refuse(self, ask: Ask) -> Stalled | None:
        """A claim that cannot be put into a composite, or whose Secret would be written by two."""
        if secret_of(ask) == ask.claim.connection_secret:
            return Stalled(
                SECRET_CLASHES,
                f"spec.writeConnectionSecretToRef.name: Crossplane writes a Secret {secret_of(ask)} of its own, as the "
                f"parameter connection.secretName of ServiceClass {ask.class_name} says; choose another name",
            )
        if ask.claim.status.driver is not None:
            return None
        try:
            build(ask)
        except Unfit as error:
            return handed.unfit(ask, error)
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return hand_over(ask, bare(ask)).looks_at

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        handing = hand_over(ask, bare(ask))
        live = seen.get(handing.refs[0])
        standing = standing_of(live) if live else Settled()
        try:
            handing = hand_over(ask, build(ask))
        except Unfit as error:
            # What is there is not touched while it cannot be said what it should be.
            provision = handing.plan(seen, standing)
            refused = handed.unfit(ask, error, ready=isinstance(provision.outcome, Settled) or provision.outcome.ready)
            return Provision(refused, connection=provision.connection, instance=provision.instance, kept=provision.kept)
        return handing.plan(seen, standing)


def hand_over(ask: Ask, wished: Object) -> Handed:
    """What is wished of Crossplane."""
    return Handed(ask, ByCrossplane.name, "Crossplane", (wished,), connection_of(ask))


# --- the object ------------------------------------------------------------------------------------------------------


def name_of(ask: Ask) -> str:
    """One definition may serve several kinds of claim, which may have the same name."""
    return f"{ask.claim.name}-{ask.claim.KIND.kind.lower()}"


def secret_of(ask: Ask) -> str:
    return str(ask.parameters.connection.secret_name).replace("%s", name_of(ask))


def bare(ask: Ask) -> Object:
    """The object without what the claim says in it: what it is and how it is called."""
    parameters = ask.parameters
    return handed.build(parameters.api_version, parameters.kind, name_of(ask), ask.claim, {})


def build(ask: Ask) -> Object:
    """The composite or Crossplane claim. Unfit where the claim does not fit the class."""
    made = bare(ask)
    made["spec"] = deepcopy(ask.parameters.spec)
    composite = render.composite_of(ask.claim)
    for at, patch in enumerate(ask.parameters.patches):
        with within(f"patches[{at}]"):
            try:
                render.carry(patch, composite, made)
            except render.Awaited as error:
                raise Unfit("", str(error)) from None
    add_machinery(ask, made)
    return made


def add_machinery(ask: Ask, made: Object) -> None:
    """Which composition serves, and where the connection goes."""
    parameters, spec = ask.parameters, made["spec"]
    chosen: Object = {}
    if parameters.composition:
        chosen["compositionRef"] = {"name": parameters.composition}
    if parameters.composition_selector:
        chosen["compositionSelector"] = {"matchLabels": dict(parameters.composition_selector)}
    if parameters.composition_update_policy:
        chosen["compositionUpdatePolicy"] = parameters.composition_update_policy
    if parameters.mode == "Claim":
        # In the foreground: under Delete the Crossplane claim is gone only when all that it stood for is.
        spec |= {
            **chosen,
            "compositeDeletePolicy": "Foreground",
            "writeConnectionSecretToRef": {"name": secret_of(ask)},
        }
        return
    if chosen:
        spec["crossplane"] = chosen
    if path := secret_path(parameters.connection):
        try:
            paths.put(made, path, secret_of(ask))
        except BadPath as error:
            raise Unfit("connection.secretField", str(error)) from None


# --- the connection --------------------------------------------------------------------------------------------------


def connection_of(ask: Ask) -> dict[str, Value]:
    """The connection secret: from Crossplane's, renamed as the class says."""
    kind, wish = ask.claim.KIND.kind, ask.parameters.connection
    found: dict[str, Value] = {"type": actions.Literal(TYPES[kind]), "provider": actions.Literal(ByCrossplane.name)}
    found |= {key: actions.Literal(value) for key, value in wish.values.items()}
    named = [*USUAL[kind], *(key for key in OPTIONAL[kind] if key in wish.keys)]
    for key in dict.fromkeys(named):
        if key in wish.keys or (key not in found and key != "uri"):
            found[key] = From(SecretKey(ask.claim.namespace, secret_of(ask), wish.keys.get(key, key)))
    if "uri" not in found:
        text, quote = URIS[kind]
        found["uri"] = Template(text, {part: part for part in PARTS[kind]}, quote=quote)
    return found


# --- how it stands ---------------------------------------------------------------------------------------------------


def standing_of(live: Object) -> Outcome:
    """As its conditions say: Ready, and whether Crossplane could do its work when it last tried."""
    name = handed.ref_of(live)
    ready, synced = handed.condition(live, "Ready"), handed.condition(live, "Synced")
    works = ready.get("status") == "True"
    if synced.get("status") == "False":
        words = f"{name}: Crossplane could not do all it should{told(synced)}"
        return Waiting(NOT_SYNCED, words, ready=works)
    if not works:
        if not ready:
            return Waiting(handed.NOT_READY, f"{name}: Crossplane has not said anything of it yet")
        return Waiting(handed.NOT_READY, f"{name} is not ready{told(ready)}")
    return Settled(f"{name} is ready")


def told(condition: Object) -> str:
    """What a condition adds in words, and its reason."""
    reason, message = handed.said(condition.get("reason")), handed.said(condition.get("message"))
    return (f" ({reason})" if reason else "") + (f": {message}" if message else "")


DRIVERS = tuple(ByCrossplane(kind) for kind in REQUIRED)
