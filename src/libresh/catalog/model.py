"""The words application packages speak in: what runs, what it needs, where it is reached, what must survive.

A package says *what*; `libresh.catalog.build` knows how Kubernetes spells it. A word that is missing is added here,
with its builder, for all packages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from libresh.api.appclaims import AppClaim
from libresh.api.apps import App, AppSpec, ServiceRef
from libresh.api.claims import Claim
from libresh.catalog.releases import Release, Releases
from libresh.catalog.settings import Settings
from libresh.plan.actions import Object, SecretKey, Value
from libresh.plan.objects import Probe, Resources

S = TypeVar("S", bound=AppSpec)


@dataclass(frozen=True)
class Need:
    """A backing service: a claim to make, or what exists already, as `wish` says."""

    role: str
    """What the application uses it for, as in the spec: database, cache, objectStore."""
    claim: type[Claim]
    wish: ServiceRef
    suffix: str
    """The claim made for application `chat` is called `chat-<suffix>`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The claim's parameters that follow the application, as they are written in YAML."""
    initial: Mapping[str, Any] = field(default_factory=dict)
    """Parameters for making the claim. Later the claim itself says them: its storage can be grown there."""
    data: bool = True
    """Whether it holds what must survive."""
    prefixes: bool = False
    """Whether the application begins all its keys and channels with the connection's `prefix`, where there is one."""


@dataclass(frozen=True)
class Binding:
    """A backing service that can be used: its connection secret, whose values the core never sees."""

    role: str
    claim_kind: str
    namespace: str
    secret: str
    digest: str
    """Changes when the connection changes."""
    keys: frozenset[str] = frozenset()
    """The keys it has: optional ones may be absent."""
    claim: str = ""
    """The claim it comes from; empty for a secret that somebody made."""
    driver: str = ""
    """Who serves the claim."""
    shared: str = ""
    """The class of the claim, where it runs one server for all its claims."""
    home: str = ""
    """The namespace of the claim, where it is another one's, which shares it."""

    def key(self, name: str) -> SecretKey:
        """One value of the connection, for a template or an environment variable."""
        return SecretKey(self.namespace, self.secret, name)


@dataclass(frozen=True)
class Instance(Generic[S]):
    """One application as its package sees it: all that may decide what runs."""

    app: App
    spec: S
    """The settings in force: the person's over the profiles' over the package's."""
    release: Release
    settings: Settings
    bindings: Mapping[str, Binding] = field(default_factory=dict)

    def named(self, part: str) -> str:
        """The name of one of its objects."""
        return f"{self.app.name}-{part}"

    def secret_key(self, part: str, key: str) -> SecretKey:
        """A value of one of its own secrets."""
        return SecretKey(self.app.namespace, self.named(part), key)

    def image(self, name: str) -> str:
        """The image `name` of this release."""
        return self.settings.image(name, self.release.images[name])


@dataclass(frozen=True)
class Secrets:
    """Values that are secret or hold secrets: files, keys, passwords. Made as the Secret `<app>-<part>`."""

    part: str
    values: Mapping[str, Value]
    kept: bool = False
    """Whether it is data: it then outlives the application and is found again by one of the same name."""


@dataclass(frozen=True)
class ConfigFiles:
    """Files without secrets. Made as the ConfigMap `<app>-<part>`."""

    part: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class UseSecrets:
    """A `Secrets` part seen as files below `path`."""

    part: str
    path: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class UseConfig:
    """A `ConfigFiles` part seen as files below `path`."""

    part: str
    path: str


@dataclass(frozen=True)
class UseVolume:
    """A `Volume` part mounted at `path`."""

    part: str
    path: str


@dataclass(frozen=True)
class Scratch:
    """An empty folder that goes with the pod."""

    name: str
    path: str
    size: str = "64Mi"
    memory: bool = False


Use = UseSecrets | UseConfig | UseVolume | Scratch


@dataclass(frozen=True)
class Volume:
    """Files that must survive, on a volume of their own: the PersistentVolumeClaim `<app>-<part>`."""

    part: str
    size: str
    storage_class: str | None = None


@dataclass(frozen=True)
class Process:
    """What runs in one container."""

    image: str
    argv: tuple[str, ...] = ()
    env: Mapping[str, str | SecretKey] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    uses: tuple[Use, ...] = ()
    resources: Resources = field(default_factory=Resources)
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    trusts_ca: bool = False
    """Whether it makes TLS connections that must also trust the cluster's own authority."""


@dataclass(frozen=True)
class Component:
    """A part of the application. Use one of the kinds below: they say how it may be run."""

    name: str
    process: Process
    version: str = ""
    """Of what runs here, where it is not the application's."""


@dataclass(frozen=True)
class Web(Component):
    """Answers requests; any number may run at once, and a roll leaves no gap."""

    replicas: int = 1
    metrics: "Metrics | None" = None


@dataclass(frozen=True)
class Worker(Component):
    """Works in the background; any number may run at once."""

    replicas: int = 1


@dataclass(frozen=True)
class Singleton(Component):
    """Must never run twice at once: the old one is stopped before the new one starts."""

    metrics: "Metrics | None" = None
    grace: int = 30


@dataclass(frozen=True)
class Task(Component):
    """Runs to its end once for each `once_per`, before anything else of a release is started: a schema migration."""

    once_per: tuple[str, ...] = ()
    title: str = ""
    """What it does, for people: `Migrating the database`."""
    retries: int = 3
    reaches: tuple[str, ...] | None = None
    """The roles of the services it connects to, and to nothing else. None: to all that the application may."""


@dataclass(frozen=True)
class Cron(Component):
    """Runs at times, given as a cron expression in UTC; never twice at once."""

    schedule: str = ""


@dataclass(frozen=True)
class Metrics:
    """Where Prometheus finds metrics."""

    port: str = "metrics"
    path: str = "/metrics"


@dataclass(frozen=True)
class Route:
    """A host name that leads to a component. Paths are prefixes, `exact` ones just themselves."""

    host: str
    component: str
    port: str
    paths: tuple[str, ...] = ("/",)
    exact: tuple[str, ...] = ()
    largest_body: int = 0
    """The largest request in bytes, for ingress controllers that refuse large ones unless told. 0: their default."""


@dataclass(frozen=True)
class World:
    """Where components may connect to outside of what they are bound to: these ports of any address."""

    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parts:
    """All of one instance, as its package wants it. The first component is the main one: it speaks for the version."""

    components: tuple[Component, ...]
    secrets: tuple[Secrets, ...] = ()
    configs: tuple[ConfigFiles, ...] = ()
    volumes: tuple[Volume, ...] = ()
    routes: tuple[Route, ...] = ()
    world: World = World()


@dataclass(frozen=True)
class Argument:
    """One argument of a command, as the command line asks for it."""

    name: str
    help: str
    flag: bool = False
    """A switch `--name` instead of a value."""
    required: bool = True
    secret: bool = False
    """Asked for without showing it, and passed on standard input, never as an argument of a program."""


@dataclass(frozen=True)
class Command:
    """An administrative command of the application's own, run inside a container of one of its components.

    `argv` and `stdin` make what is run of the answers: text for arguments, "true" or "" for flags. A secret answer may
    only be used by `stdin`.
    """

    name: str
    help: str
    component: str
    argv: Callable[[Mapping[str, str]], tuple[str, ...]]
    arguments: tuple[Argument, ...] = ()
    stdin: Callable[[Mapping[str, str]], str] | None = None


@dataclass(frozen=True)
class Kept:
    """An object of the application's own that holds data: it stays when the application is deleted."""

    kind: Literal["Secret", "PersistentVolumeClaim"]
    part: str
    why: str
    """What is lost without it."""


@dataclass(frozen=True)
class Excluded:
    """State of the application that need not survive, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Offer(Generic[S]):
    """That an application serves others: claims of `kind` are references to it, with a connection secret.

    The kind's `APP` is this application's kind, its `SCHEMA` says which keys a connection has. `connection` is pure:
    the application, its settings in force and the operator's give the values; what is secret is named, in Secrets of
    the application's own namespace. The type of its spec derives from ServingSpec: there its owner says who may.
    """

    kind: type[AppClaim]
    connection: Callable[[App, S, Settings], Mapping[str, Value]]


@dataclass(frozen=True)
class Refusal:
    """Why a wish cannot be fulfilled: a word for programs, and field, reason and way out for people."""

    reason: str
    message: str


@dataclass(frozen=True)
class Package(Generic[S]):
    """One application: everything libre.sh must know to run it. All functions are pure."""

    name: str
    title: str
    kind: type[App]
    releases: Releases
    needs: Callable[[App, S], tuple[Need, ...]]
    parts: Callable[[Instance[S]], Parts]
    host_fields: tuple[str, ...] = ("host",)
    """The fields below spec that name hosts. No two applications may have the same."""
    kept: tuple[Kept, ...] = ()
    """What outlives an application besides the data behind its claims."""
    refuse: Callable[[App, S, Release], Refusal | None] = lambda app, spec, release: None
    """Combinations that the schema cannot refuse, as they come together from profiles and instance."""
    commands: tuple[Command, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    own_only: frozenset[str] = frozenset()
    """Fields that only an instance itself may set, besides those of every application."""
    offer: Offer[S] | None = None
    """What it is to other applications, if it serves any."""

    @property
    def kind_name(self) -> str:
        return self.kind.KIND.kind


AnyPackage = Package[Any]

__all__ = [
    "AnyPackage",
    "Argument",
    "Binding",
    "Command",
    "Component",
    "ConfigFiles",
    "Cron",
    "Excluded",
    "Instance",
    "Kept",
    "Metrics",
    "Need",
    "Object",
    "Offer",
    "Package",
    "Parts",
    "Probe",
    "Process",
    "Refusal",
    "Resources",
    "Route",
    "Scratch",
    "Secrets",
    "Singleton",
    "Task",
    "Use",
    "UseConfig",
    "UseSecrets",
    "UseVolume",
    "Volume",
    "Web",
    "Worker",
    "World",
]
