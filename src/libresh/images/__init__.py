"""Container images from recipes: Debian and language packages in, OCI archives out. No container engine needed.

images.build(["postgresql"], prefix="local.libre.sh")["postgresql"].archive   → ctr -n k8s.io images import …
"""

from libresh.images.builder import (
    DEFAULT_PREFIX,
    HOST_PACKAGES,
    BuiltImage,
    Progress,
    build,
    image_tree,
    references,
    write_archive,
)

__all__ = [
    "DEFAULT_PREFIX",
    "HOST_PACKAGES",
    "BuiltImage",
    "Progress",
    "build",
    "image_tree",
    "references",
    "write_archive",
]
