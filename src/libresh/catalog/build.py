"""From a package's words to Kubernetes objects. Pure: the same instance gives the same objects.

Every object is named `<app>-<part>` and labelled with the application it is for. What is data has no owner; all else
goes with the application.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from libresh.api.apps import App
from libresh.api.claims import Claim
from libresh.catalog import access
from libresh.catalog.model import (
    Component,
    ConfigFiles,
    Cron,
    Instance,
    Need,
    Parts,
    Process,
    Scratch,
    Secrets,
    Singleton,
    Task,
    Use,
    UseConfig,
    UseSecrets,
    UseVolume,
    Web,
    Worker,
)
from libresh.catalog.profile import everything
from libresh.plan import naming, objects
from libresh.plan.actions import Action, Apply, From, Hashed, Literal, Mint, Object, Random, SecretKey, Template, Value

ACCOUNT = "app"
"""The part of an application that is its ServiceAccount, which may do nothing in the API."""
TRUST = "ca"
"""The part of an application that holds the authorities of the cluster's own."""
TRUST_PATH = "/etc/libresh/trust"
PUBLIC_AUTHORITIES = "/etc/ssl/certs"
MIGRATED_ANNOTATION = "libre.sh/migrated"
"""On workloads: digests of the tasks that were done before they were started."""


class Builder:
    """Builds the objects of one instance."""

    def __init__(self, instance: Instance[Any], parts: Parts) -> None:
        self.instance = instance
        self.parts = parts
        self.app: App = instance.app
        self.owner = naming.owner_value(self.app.KIND.kind, self.app.name)

    # --- names and labels ------------------------------------------------------------------------------------

    @property
    def software(self) -> str:
        """What runs, for labels: the kind in small letters."""
        return self.app.KIND.kind.lower()

    def labels(self, component: str = "", version: str = "") -> dict[str, str]:
        labels = naming.labels_for(name=self.software, instance=self.app.name, component=component, version=version)
        return labels | {naming.OWNER_LABEL: self.owner}

    def selector(self, component: str) -> dict[str, str]:
        return naming.selector_for(name=self.software, instance=self.app.name, component=component)

    def metadata(self, part: str, *, component: str = "", version: str = "") -> Object:
        """Metadata of an object that goes with the application."""
        labels = self.labels(component or part, version)
        return objects.build_metadata(self.instance.named(part), self.app.namespace, labels, owner=self.app)

    def kept_metadata(self, part: str) -> Object:
        """Metadata of an object that stays when the application goes."""
        labels = self.labels(part) | {naming.KEPT_FOR_LABEL: self.owner}
        return objects.build_metadata(self.instance.named(part), self.app.namespace, labels)

    # --- what components stand on ----------------------------------------------------------------------------

    def secrets(self) -> tuple[Mint, ...]:
        """The Secrets, kept ones first: others may be made of them."""
        ordered = sorted(self.parts.secrets, key=lambda each: not each.kept)
        return tuple(
            Mint(self.kept_metadata(each.part) if each.kept else self.metadata(each.part), each.values)
            for each in ordered
        )

    def foundations(self) -> tuple[Action, ...]:
        """Accounts, configuration, volumes, Services, routes and network policies: all that starts nothing."""
        applied: list[Object] = [objects.build_service_account(self.metadata(ACCOUNT))]
        applied += [objects.build_config_map(self.metadata(each.part), each.files) for each in self.configs()]
        applied += [
            objects.build_volume_claim(self.kept_metadata(each.part), each.size, each.storage_class)
            for each in self.parts.volumes
        ]
        applied += [self.service(each) for each in self.parts.components if serves(each)]
        applied += access.build_ingresses(self)
        applied += access.build_policies(self)
        return tuple(Apply(each) for each in applied)

    def configs(self) -> tuple[ConfigFiles, ...]:
        """Files without secrets, the cluster's own authorities among them where there are any."""
        bundle = self.instance.settings.ca_bundle
        trusting = any(each.process.trusts_ca for each in self.parts.components)
        trust = (ConfigFiles(TRUST, {"ca.crt": bundle}),) if bundle and trusting else ()
        return self.parts.configs + trust

    def service(self, component: Component) -> Object:
        """The Service in front of a component's ports, annotated where Prometheus finds metrics."""
        metadata = self.metadata(component.name)
        metrics = access.metrics_of(component)
        if metrics:
            metadata["annotations"] = {
                "prometheus.io/path": metrics.path,
                "prometheus.io/port": str(component.process.ports[metrics.port]),
                "prometheus.io/scrape": "true",
            }
        return objects.build_service(metadata, component.process.ports, selector=self.selector(component.name))

    # --- what runs -------------------------------------------------------------------------------------------

    def workload(self, component: Component, secrets: Mapping[str, str], done: Sequence[str]) -> Object:
        """The Deployment or CronJob of a component. `secrets`: digests of kept Secrets, by part."""
        metadata = self.metadata(component.name, version=component.version or self.instance.release.version)
        if done:
            metadata["annotations"] = {MIGRATED_ANNOTATION: ",".join(sorted(done))}
        pod = self.pod(component)
        content = naming.digest_of(pod.build(), self.content(component.process, secrets))
        if isinstance(component, Cron):
            return self.cron_job(component, metadata, pod)
        selector = self.selector(component.name)
        alone = isinstance(component, Singleton)
        replicas = component.replicas if isinstance(component, Web | Worker) else 1
        return objects.build_deployment(
            metadata, pod, selector=selector, content=content, replicas=replicas, recreate=alone
        )

    def cron_job(self, component: Cron, metadata: Object, pod: objects.Pod) -> Object:
        """A CronJob: one at a time, the last results kept for reading."""
        job = objects.build_job(metadata, pod, retries=0)["spec"]
        return {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": metadata,
            "spec": {
                "concurrencyPolicy": "Forbid",
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {"metadata": {"labels": metadata["labels"]}, "spec": job},
                "schedule": component.schedule,
                "successfulJobsHistoryLimit": 1,
                "timeZone": "Etc/UTC",
            },
        }

    def task(self, task: Task) -> Object:
        """The Job of a task. A Job cannot be changed once it is made, so its name holds a digest of all it is."""
        version = task.version or self.instance.release.version
        pod = self.pod(task)
        digest = naming.digest_of(task.once_per, pod.build())[:10]
        metadata = self.metadata(f"{task.name}-{digest}", component=task.name, version=version)
        return objects.build_job(metadata, pod, retries=task.retries)

    def pod(self, component: Component) -> objects.Pod:
        """The pod of a component."""
        return objects.Pod(
            containers=(self.container(component),),
            identity=self.instance.named(ACCOUNT),
            grace=component.grace if isinstance(component, Singleton) else 30,
            restart="Never" if isinstance(component, Task | Cron) else "Always",
        )

    def container(self, component: Component) -> objects.Container:
        process = component.process
        mounts = [self.mount(use) for use in process.uses]
        env = {name: env_value(value) for name, value in process.env.items()}
        if process.trusts_ca and self.instance.settings.ca_bundle:
            # OpenSSL reads the file and the folder: the cluster's own authorities besides the public ones.
            mounts.append(objects.from_config(TRUST, TRUST_PATH, self.instance.named(TRUST)))
            env |= {"SSL_CERT_FILE": f"{TRUST_PATH}/ca.crt", "SSL_CERT_DIR": PUBLIC_AUTHORITIES}
        return objects.Container(
            name=component.name,
            image=process.image,
            command=process.argv,
            env=env,
            ports=process.ports,
            mounts=tuple(mounts),
            resources=process.resources,
            startup=process.startup,
            readiness=process.readiness,
            liveness=process.liveness,
        )

    def mount(self, use: Use) -> objects.Mount:
        match use:
            case UseSecrets(part=part, path=path, keys=keys):
                return objects.from_secret(part, path, self.instance.named(part), keys)
            case UseConfig(part=part, path=path):
                return objects.from_config(part, path, self.instance.named(part))
            case UseVolume(part=part, path=path):
                return objects.from_claim(part, path, self.instance.named(part))
            case Scratch(name=name, path=path, size=size, memory=memory):
                return objects.empty_dir(name, path, size=size, memory=memory)

    # --- what a restart depends on -----------------------------------------------------------------------------

    def content(self, process: Process, secrets: Mapping[str, str]) -> list[Any]:
        """What a process reads once, when it starts."""
        read: list[Any] = [key_digest(self.instance, value) for value in process.env.values()]
        for use in process.uses:
            if isinstance(use, UseSecrets):
                made = [each for each in self.parts.secrets if each.part == use.part]
                read += [self.secrets_content(each, use, secrets) for each in made]
            elif isinstance(use, UseConfig):
                read += [dict(each.files) for each in self.parts.configs if each.part == use.part]
        if process.trusts_ca:
            read.append(self.instance.settings.ca_bundle)
        return read

    def secrets_content(self, made: Secrets, use: UseSecrets, secrets: Mapping[str, str]) -> Any:
        """What a Secret's keys are made of: texts as they are, others' values by digest."""
        if made.kept:
            return secrets.get(made.part, "")
        values = {key: made.values[key] for key in (use.keys or sorted(made.values))}
        return {key: self.value_content(value, secrets) for key, value in sorted(values.items())}

    def value_content(self, value: Value, secrets: Mapping[str, str]) -> Any:
        match value:
            case Literal(value=text):
                return text
            case Template(text=text, values=sources):
                return [text, {name: self.source_content(source, secrets) for name, source in sorted(sources.items())}]
            case Random():
                return "random"
            case From(source=source) | Hashed(key=source):
                return self.source_content(source, secrets)

    def source_content(self, source: str | SecretKey, secrets: Mapping[str, str]) -> str:
        """A digest that changes when the value at `source` does."""
        if isinstance(source, str):
            return source
        for part, digest in secrets.items():
            if source.name == self.instance.named(part):
                return f"{source.key} {digest}"
        return key_digest(self.instance, source)


def key_digest(instance: Instance[Any], source: str | SecretKey) -> str:
    """A digest that changes when what a binding gives does; plain text stands for itself."""
    if isinstance(source, str):
        return source
    for binding in instance.bindings.values():
        if (binding.namespace, binding.secret) == (source.namespace, source.name):
            return f"{source.key} {binding.digest}"
    return f"{source.name} {source.key}"


def env_value(value: str | SecretKey) -> str | Mapping[str, Any]:
    return value if isinstance(value, str) else objects.env_from_secret(value.name, value.key)


def serves(component: Component) -> bool:
    """Whether a component is reached through a Service."""
    return bool(component.process.ports) and not isinstance(component, Task | Cron)


def claim_name(app: App, need: Need) -> str:
    """The name of the claim made, or used, for a need."""
    return need.wish.claim or f"{app.name}-{need.suffix}"


def is_own(need: Need) -> bool:
    """Whether the claim is made for this application."""
    return need.wish.claim is None and need.wish.secret is None


def task_mark(task: Task) -> str:
    """What workloads bear once a task was done for them."""
    return f"{task.name}-{naming.digest_of(task.once_per)}"


def build_claim(app: App, need: Need, seen: Claim | None, *, deletion_policy: str) -> Object:
    """The claim of a need. It goes with the application; its data stays or goes as the application says.

    Of a claim that is there its class stays, and so do the parameters that are only for making it.
    """
    said: Object = everything(seen.spec) if seen else {}
    class_name = need.wish.class_name or said.get("className")
    initial = {key: said.get("parameters", {}).get(key, value) for key, value in need.initial.items()}
    spec: Object = {"deletionPolicy": deletion_policy}
    if class_name:
        spec["className"] = class_name
    if need.wish.requires:
        spec["requires"] = sorted({*need.wish.requires})
    if parameters := {**initial, **need.parameters}:
        spec["parameters"] = parameters
    return claim_object(app, need.claim, claim_name(app, need), need.suffix, spec)


def rebuild_claim(app: App, claim: Claim, *, deletion_policy: str) -> Object:
    """A claim as it is, but for its deletion policy."""
    spec = everything(claim.spec) | {"deletionPolicy": deletion_policy}
    suffix = claim.metadata.labels.get(naming.COMPONENT_LABEL, "")
    return claim_object(app, type(claim), claim.name, suffix, spec)


def claim_object(app: App, type: type[Claim], name: str, suffix: str, spec: Object) -> Object:
    labels = naming.labels_for(name=app.KIND.kind.lower(), instance=app.name, component=suffix)
    labels[naming.OWNER_LABEL] = naming.owner_value(app.KIND.kind, app.name)
    return {
        "apiVersion": type.KIND.api_version,
        "kind": type.KIND.kind,
        "metadata": objects.build_metadata(name, app.namespace, labels, owner=app),
        "spec": spec,
    }


def workloads(parts: Parts) -> tuple[Component, ...]:
    """The components that keep running."""
    return tuple(each for each in parts.components if not isinstance(each, Task))


def tasks(parts: Parts) -> tuple[Task, ...]:
    """The components that run to their end first."""
    return tuple(each for each in parts.components if isinstance(each, Task))


__all__ = [
    "MIGRATED_ANNOTATION",
    "Builder",
    "build_claim",
    "claim_name",
    "is_own",
    "rebuild_claim",
    "serves",
    "task_mark",
    "tasks",
    "workloads",
]
