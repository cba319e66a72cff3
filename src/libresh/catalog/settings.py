"""What the operator itself was told at start: the same for all drivers and applications."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What the operator itself was told at start, for all drivers and applications."""

    image_prefix: str = "registry.libre.sh"
    system_namespace: str = "libresh-system"
    domain: str = "localhost"
    """The suffix under which servers of classes get their host names."""
    cluster: str = ""
    """What tells this cluster from every other one."""
    ca_config_map: str = ""
    """`namespace/name` of a ConfigMap with key ca.crt that pods shall trust besides the public authorities."""
    ca_bundle: str = ""
    """What that ConfigMap holds, once read."""

    def image(self, name: str, version: str) -> str:
        """The full reference of one of libre.sh's images."""
        return f"{self.image_prefix}/{name}:{version}"
