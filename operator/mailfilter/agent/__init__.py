"""The process beside each daemon: readiness, status, release from quarantine, metrics.

It knows the daemons by their files and sockets only, and nothing of Kubernetes.
"""
