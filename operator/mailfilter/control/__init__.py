"""Reconcile loops: what is wanted is applied, what is observed becomes status."""
