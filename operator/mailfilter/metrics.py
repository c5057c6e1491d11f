"""Prometheus metrics of the operator (docs/architecture.md)."""

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter("mailfilter_operator_reconciles", "Reconciles by kind and result.", ["kind", "result"])
RECONCILE_SECONDS = Histogram("mailfilter_operator_reconcile_seconds", "Duration of a reconcile.", ["kind"])
QUEUE_DEPTH = Gauge("mailfilter_operator_queue_depth", "Objects that wait for a reconcile now.", ["kind"])
API_CALLS = Counter(
    "mailfilter_operator_api_calls",
    "Calls of the Kubernetes API by verb, resource and status code.",
    ["verb", "resource", "code"],
)
CONDITION = Gauge(
    "mailfilter_condition", "Conditions of a MailFilter: 1 True, 0 False, -1 Unknown.", ["namespace", "name", "type"]
)
