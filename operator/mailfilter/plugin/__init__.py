"""`kubectl mailfilter`: the quarantine and the state of a gateway for people, over the user's own kubectl.

It has no more rights than its user: RBAC decides who may forward a port to the agent's pod, read its token, and create
a QuarantineRelease.
"""
