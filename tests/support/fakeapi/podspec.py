"""What the server fills into pod templates."""

from typing import Any

Object = dict[str, Any]
MODE = 420
"""0644, the mode of projected files."""


def default_template(template: Any) -> None:
    """Fills in a pod template in place."""
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return
    default_pod(template["spec"])


def default_pod(spec: Object) -> None:
    """Fills in a pod's spec in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if account := spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", account)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        if isinstance(container, dict):
            default_container(container)
    for volume in spec.get("volumes") or ():
        if isinstance(volume, dict):
            default_volume(volume)


def default_container(container: Object) -> None:
    """Fills in one container."""
    image = container.get("image", "")
    tagged = "@" in image or (":" in image.rpartition("/")[2] and not image.endswith(":latest"))
    container.setdefault("imagePullPolicy", "IfNotPresent" if tagged else "Always")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            default_probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and isinstance(hook.get("httpGet"), dict):
            default_http(hook["httpGet"])
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")


def default_probe(probe: Object) -> None:
    """Fills in a probe."""
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if isinstance(probe.get("httpGet"), dict):
        default_http(probe["httpGet"])
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"].setdefault("service", "")


def default_http(get: Object) -> None:
    """Fills in an HTTP action."""
    get.setdefault("path", "/")
    get.setdefault("scheme", "HTTP")


def default_volume(volume: Object) -> None:
    """Fills in a volume."""
    for name in ("secret", "configMap", "projected", "downwardAPI"):
        if isinstance(volume.get(name), dict):
            volume[name].setdefault("defaultMode", MODE)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        if isinstance(source.get("serviceAccountToken"), dict):
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    for part in [*((volume.get("downwardAPI") or {}).get("items") or ())]:
        if isinstance(part.get("fieldRef"), dict):
            part["fieldRef"].setdefault("apiVersion", "v1")


__all__ = ["default_pod", "default_template"]
