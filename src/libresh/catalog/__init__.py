"""The shared vocabulary of application packages, and what turns its words into Kubernetes objects. Pure."""
