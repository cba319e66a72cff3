"""The local cluster: a real Kubernetes on one machine, each node a set of namespaces.

It knows nothing of the operator, and the operator knows nothing of it. `cluster` has the verbs; `cli` the commands.
"""
