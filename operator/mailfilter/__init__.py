"""A Kubernetes operator for mail filtering."""
