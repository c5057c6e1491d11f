"""make bench: a gateway as the operator deploys it against the hand-made system, in turn, on one machine."""
