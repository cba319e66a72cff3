"""What all applications share, and AppProfile: defaults and locked values for many instances."""

from typing import Annotated, Any, ClassVar

import msgspec

from libresh.api.claims import Capabilities, DeletionPolicy
from libresh.api.grants import AllowedNamespaces, NamespaceName
from libresh.api.meta import (
    FORBIDDEN,
    REQUIRED,
    BaseStatus,
    Column,
    Kind,
    ObjectName,
    Resource,
    Rule,
    Struct,
    name_rule,
)

DEFAULT_PROFILE = "apps.libre.sh/is-default-profile"
"""The annotation that makes a profile the one of every instance that names none, when it is "true"."""

Host = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        extra={
            "message": "must be a DNS name such as chat.example.org: lower-case letters, digits and "
            "hyphens in two or more parts joined by dots; no underscore, port, path, dot at the end or IP "
            "address"
        },
    ),
]
Version = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[0-9A-Za-z.+-]+$",
        extra={"message": "must be a version or the beginning of one, such as 1.163 or 1.163.2"},
    ),
]
AppKind = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=63,
        pattern=r"^[A-Z][A-Za-z0-9]*$",
        extra={"message": "must be a kind of application such as Matrix, as it is written after kind:"},
    ),
]
SpecPath = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*$",
        extra={"message": "must be names joined by dots, as they stand below spec, such as settings.registration"},
    ),
]


class ServiceRef(Struct):
    """Where a backing service comes from: a claim of a class, made for this application, or what exists."""

    RULES = (
        Rule(
            "[has(self.className), has(self.claim), has(self.secret)].filter(x, x).size() <= 1",
            "set at most one of className, claim and secret: they are three ways to say where the service comes from",
            reason=FORBIDDEN,
        ),
        Rule(
            "!has(self.namespace) || has(self.claim)",
            "namespace says where the claim is: name it in claim, or take namespace out; Secrets and classes are not "
            "taken from other namespaces",
            field=".namespace",
            reason=FORBIDDEN,
        ),
        Rule(
            "!has(self.requires) || !has(self.secret)",
            "requires cannot be held against a Secret, as nobody knows what stands behind it: take requires out, or "
            "name a class or a claim in place of secret",
            field=".requires",
            reason=FORBIDDEN,
        ),
    )

    class_name: Annotated[
        ObjectName | None,
        msgspec.Meta(
            description="The ServiceClass of the claim that is made for this application. Absent: the default class."
        ),
    ] = None
    claim: Annotated[ObjectName | None, msgspec.Meta(description="An existing claim.")] = None
    namespace: Annotated[
        NamespaceName | None,
        msgspec.Meta(
            description="Where that claim is. Absent: in this namespace. In another one, its owner must allow this "
            "namespace by the claim's spec.allowedNamespaces."
        ),
    ] = None
    secret: Annotated[
        ObjectName | None, msgspec.Meta(description="An existing connection secret in this namespace.")
    ] = None
    requires: Annotated[
        Capabilities | None,
        msgspec.Meta(
            description="What the service must be able to do, in the words of the class's status.capabilities. What is "
            "lacking is told, and an application that does not run yet is not started."
        ),
    ] = None


class TLSSpec(Struct):
    """Where the certificate comes from. Without it the ingress controller's own default serves."""

    RULES = (
        Rule(
            "!(has(self.secretName) && has(self.clusterIssuer))",
            "set secretName for a certificate that exists or clusterIssuer for one that cert-manager makes, not both",
            reason=FORBIDDEN,
        ),
    )

    secret_name: Annotated[ObjectName | None, msgspec.Meta(description="A TLS Secret in this namespace.")] = None
    cluster_issuer: Annotated[
        ObjectName | None,
        msgspec.Meta(description="A ClusterIssuer of cert-manager that makes the certificate."),
    ] = None


class IngressSpec(Struct):
    """How the application is reached from outside."""

    class_name: Annotated[
        ObjectName | None, msgspec.Meta(description="The IngressClass. Absent: the cluster's default.")
    ] = None
    tls: TLSSpec | None = None


class AppSpec(Struct):
    """What every application's spec has."""

    host: Annotated[Host | None, msgspec.Meta(description="The name people reach the application at.")] = None
    profile: Annotated[
        ObjectName | None,
        msgspec.Meta(
            description="The AppProfile that gives the defaults. Absent: the default profile, if there is one."
        ),
    ] = None
    version: Annotated[
        Version | None,
        msgspec.Meta(
            description="An exact version or the beginning of one, as 1.163. Absent: the newest this operator knows."
        ),
    ] = None
    ingress: IngressSpec | None = None
    suspend: Annotated[
        bool,
        msgspec.Meta(
            description="Leave everything as it is: nothing is changed until this is false again.",
            extra={"instance_only": True},
        ),
    ] = False
    deletion_policy: Annotated[
        DeletionPolicy,
        msgspec.Meta(
            description="What becomes of the data when this object is deleted. Retain keeps databases, "
            "buckets and secrets, and an object of the same name finds them again; Delete removes them for "
            "ever."
        ),
    ] = "Retain"


class ServingSpec(AppSpec):
    """What the spec of an application that serves others has besides."""

    allowed_namespaces: Annotated[
        AllowedNamespaces | None,
        msgspec.Meta(
            description="The namespaces besides its own whose claims this application serves. Absent: none.",
            extra={"instance_only": True},
        ),
    ] = None


class ComponentStatus(Struct, kw_only=True):
    """How one part of the application stands."""

    name: Annotated[str, msgspec.Meta(description="The part.")]
    ready: Annotated[bool, msgspec.Meta(description="Whether it does its work.")]
    message: Annotated[str, msgspec.Meta(description="What it lacks, if anything.")] = ""


class BackingStatus(Struct, kw_only=True):
    """How one backing service of the application stands."""

    role: Annotated[str, msgspec.Meta(description="What the application uses it for, for example database.")]
    ref: Annotated[str, msgspec.Meta(description="The claim or secret it comes from.")]
    ready: Annotated[bool, msgspec.Meta(description="Whether it can be used.")]
    message: Annotated[str, msgspec.Meta(description="What it lacks, if anything.")] = ""


class AppStatus(BaseStatus):
    """What was observed of the application."""

    version: Annotated[str | None, msgspec.Meta(description="The version that runs and answered.")] = None
    url: Annotated[str | None, msgspec.Meta(description="Where people reach it.")] = None
    profile: Annotated[str | None, msgspec.Meta(description="The profile that gave the defaults.")] = None
    components: Annotated[
        list[ComponentStatus],
        msgspec.Meta(
            max_length=64,
            description="The parts of the application.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    backing: Annotated[
        list[BackingStatus],
        msgspec.Meta(
            max_length=64,
            description="The services behind the application.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["role"]},
        ),
    ] = []
    kept: Annotated[list[str], msgspec.Meta(max_length=64, description="What stays when this object is deleted.")] = []
    effective: Annotated[
        dict[str, Any] | None,
        msgspec.Meta(description="The settings in force that did not come from this object, each with its origin."),
    ] = None


class App(Resource, kw_only=True):
    """An application of any kind: the reconciler of applications sees no more than this."""

    spec: AppSpec
    status: AppStatus = msgspec.field(default_factory=AppStatus)


HOST_REQUIRED = Rule(
    "has(self.host)",
    "the name people reach the application at is missing: set it to a DNS name that leads here, such as "
    "chat.example.org",
    field=".host",
    reason=REQUIRED,
)
"""For applications that cannot be reached without a name."""

APP_NAME_LIMIT = 40
"""Shorter than a claim's: an application's claims are named after it."""

APP_RULES = (name_rule(APP_NAME_LIMIT),)
"""What holds for the whole object of every kind of application."""

APP_COLUMNS = (
    Column("URL", ".status.url"),
    Column("Version", ".status.version"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
    Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
    Column("Age", ".metadata.creationTimestamp", "date"),
)


class AppProfileSpec(Struct, kw_only=True):
    """Defaults for the instances of one kind of application, and which of them may not be overridden."""

    RULES = (
        Rule(
            "self.appKind == oldSelf.appKind",
            "appKind cannot be changed: the instances of this profile are of the old kind. Make another profile",
            field=".appKind",
            reason=FORBIDDEN,
        ),
    )

    app_kind: Annotated[
        AppKind,
        msgspec.Meta(description="The kind of application, for example Matrix. It cannot be changed."),
    ]
    defaults: Annotated[
        dict[str, Any],
        msgspec.Meta(
            description="A spec of that kind, as far as it shall be given: instances that say nothing get it."
        ),
    ] = {}
    locked: Annotated[
        list[SpecPath],
        msgspec.Meta(
            max_length=64,
            description="Paths below spec, for example settings.registration, that instances may not set otherwise.",
            extra_json_schema={"x-kubernetes-list-type": "set"},
        ),
    ] = []


class AppProfileStatus(BaseStatus):
    """What was observed of the profile."""

    instances: Annotated[int, msgspec.Meta(description="How many instances name it.")] = 0


class AppProfile(Resource, kw_only=True):
    """Defaults, and locked values, for many instances of an application."""

    KIND: ClassVar[Kind] = Kind(
        group="apps.libre.sh",
        kind="AppProfile",
        plural="appprofiles",
        namespaced=False,
        columns=(
            Column("App", ".spec.appKind"),
            Column("Default", r".metadata.annotations.apps\.libre\.sh/is-default-profile"),
            Column("Instances", ".status.instances", "integer"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: AppProfileSpec
    status: AppProfileStatus = msgspec.field(default_factory=AppProfileStatus)

    @property
    def is_default(self) -> bool:
        """Whether instances that name no profile get this one."""
        return self.metadata.annotations.get(DEFAULT_PROFILE) == "true"
