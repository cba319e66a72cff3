"""libresh: runs web applications on Kubernetes for people who never want to think about running them again."""

__version__ = "0.1.0"
