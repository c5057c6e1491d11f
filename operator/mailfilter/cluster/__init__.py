"""I/O: the Kubernetes API, the agents, the work queue."""
