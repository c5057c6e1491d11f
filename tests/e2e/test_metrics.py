"""A real Prometheus scrapes all that there is, by the pods' annotations, and what it then knows is true."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from support import ROOT
from support.cluster import Cluster, Object
from support.gateway import reports
from support.mail import Post, message, spam, virus
from support.run import run, wait_for
from support.victim import Victim

CONFIG = """
global: {scrape_interval: 2s, scrape_timeout: 2s}
scrape_configs:
- job_name: pods
  kubernetes_sd_configs:
  - role: pod
  relabel_configs:
  - {source_labels: [__meta_kubernetes_namespace], regex: NAMESPACES, action: keep}
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    regex: (.+);(.+)
    replacement: $1:$2
    target_label: __address__
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
"""


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, operator: str, post: Post) -> Victim:
    rules = "header LOTTERY Subject =~ /lottery/\nscore LOTTERY 7.0\n"
    return Victim(cluster, post, spam={"localTestsOnly": True, "rules": rules}).start()


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, operator: str, gateway: Victim) -> Iterator["Prometheus"]:
    image = run(ROOT / "tests/testbed/5-extras.sh", "prometheus", cluster.name, timeout=900).strip()
    found = Prometheus(cluster, gateway.post)
    found.start(image, f"{operator}|{gateway.namespace}")
    yield found
    cluster.kubectl("delete", "clusterrolebinding", found.binding)


class Prometheus:
    """The pod `prometheus` beside the gateway."""

    def __init__(self, cluster: Cluster, post: Post) -> None:
        self.cluster, self.post = cluster, post
        self.binding = f"prometheus-{post.namespace}"

    def start(self, image: str, namespaces: str) -> None:
        account = {"kind": "ServiceAccount", "name": "prometheus", "namespace": self.post.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": self.binding},
            "subjects": [account],
            "roleRef": role,
        }
        config = CONFIG.replace("NAMESPACES", namespaces)
        container = {
            "name": "prometheus",
            "image": image,
            "imagePullPolicy": "Never",
            "volumeMounts": [{"name": "config", "mountPath": "/etc/prometheus"}],
            "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "prometheus"},
            "spec": {
                "serviceAccountName": "prometheus",
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
                "volumes": [{"name": "config", "configMap": {"name": "prometheus"}}],
            },
        }
        metadata = {"name": "prometheus"}
        self.cluster.apply(
            [
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"prometheus.yml": config}},
                pod,
            ],
            self.post.namespace,
        )
        self.cluster.apply(binding)
        kubectl = ("-n", self.post.namespace, "wait", "pod/prometheus", "--for=condition=Ready", "--timeout=300s")
        self.cluster.kubectl(*kubectl, timeout=310)

    @property
    def url(self) -> str:
        address = self.cluster.get("pod", "prometheus", self.post.namespace)["status"]["podIP"]
        return f"http://{address}:9090/api/v1"

    def targets(self) -> dict[str, Object]:
        """Pod → what Prometheus knows of its endpoint."""
        found = json.loads(self.post.http(f"{self.url}/targets?state=active"))["data"]["activeTargets"]
        return {target["labels"]["pod"]: target for target in found}

    def query(self, expression: str) -> dict[str, float]:
        """The value by the one label that tells the results apart, or by `` for a single one."""
        text = self.post.http(f"{self.url}/query?{urlencode({'query': expression})}")
        results = json.loads(text)["data"]["result"]
        return {",".join(sorted(one["metric"].values())): float(one["value"][1]) for one in results}

    def value(self, expression: str) -> float:
        """The one value of an expression, as soon as there is one: a scrape that took too long leaves none behind."""
        (found,) = wait_for(lambda: list(self.query(expression).values()), expression)
        return found

    def wait(self, expression: str, expected: dict[str, float]) -> None:
        def as_expected() -> bool:
            found = self.query(expression)
            assert found == expected, f"{expression}: {found}"
            return True

        wait_for(as_expected, expression)

    def lint(self, url: str) -> None:
        """promtool's word on an endpoint's metrics; it fails for any remark."""
        text = self.post.http(url)
        command = ("exec", "-i", "prometheus", "--", "promtool", "check", "metrics")
        self.cluster.kubectl("-n", self.post.namespace, *command, stdin=text)


def endpoints(gateway: Victim, operator: str) -> set[str]:
    pods = gateway.cluster.objects("pod", operator, {"app.kubernetes.io/name": "mailfilter-operator"})
    return {"mx-postfix-0", "mx-amavis-0", "mx-freshclam-0"} | {pod["metadata"]["name"] for pod in pods}


def test_all_is_scraped_and_nothing_is_down(gateway: Victim, operator: str, prometheus: Prometheus) -> None:
    def up() -> bool:
        found = prometheus.targets()
        assert found.keys() == endpoints(gateway, operator)
        assert {target["health"] for target in found.values()} == {"up"}, [one["lastError"] for one in found.values()]
        return True

    wait_for(up, "all targets up")


def test_promtool_has_no_remark(gateway: Victim, operator: str, prometheus: Prometheus) -> None:
    gateway.verdict(message())
    wait_for(lambda: len(prometheus.targets()) == 4, "all targets")
    for target in prometheus.targets().values():
        prometheus.lint(target["scrapeUrl"])


def test_mails_by_verdict_score_and_stage(gateway: Victim, prometheus: Prometheus) -> None:
    for mail in (message(), message(), message("lottery"), spam(), virus()):
        gateway.verdict(mail)
    # All mails of this module: what Prometheus knew before was of the scrape before.
    verdicts = Counter(one["content_type"] for one in reports(gateway.cluster, gateway.namespace).values())
    assert (verdicts["Clean"] >= 2, verdicts["Spam"], verdicts["Virus"]) == (True, 2, 1)
    for verdict, number in verdicts.items():
        prometheus.wait(f'sum(mailfilter_mails_total{{verdict="{verdict}"}})', {"": number})
    # A mail with a virus gets no score.
    prometheus.wait('sum(mailfilter_spam_score_bucket{le="+Inf"})', {"": verdicts.total() - verdicts["Virus"]})
    prometheus.wait(
        'sum(mailfilter_spam_score_bucket{le="100.0"} - ignoring(le) mailfilter_spam_score_bucket{le="6.0"})', {"": 1}
    )
    stages = {"Receiving", "Decoding", "VirusCheck", "SpamCheck", "Sending", "Total"}
    counts = "sum by (stage) (mailfilter_stage_seconds_count)"
    wait_for(lambda: stages <= prometheus.query(counts).keys(), "all stages")
    assert prometheus.value("sum(mailfilter_mail_bytes_total)") > 5 * 300


def test_quarantine_queue_signatures_and_policy(gateway: Victim, prometheus: Prometheus) -> None:
    gateway.verdict(virus())
    wait_for(lambda: gateway.status()["quarantine"]["byKind"]["virus"] >= 1, "the virus in status")
    status = gateway.status()
    kinds = {kind: float(count) for kind, count in status["quarantine"]["byKind"].items()}
    prometheus.wait("sum by (kind) (mailfilter_quarantine_messages)", kinds)
    free = prometheus.value("sum(mailfilter_quarantine_free_bytes)")
    assert 0 < free <= prometheus.value("sum(mailfilter_quarantine_capacity_bytes)")
    prometheus.wait(
        "sum by (queue) (mailfilter_queue_messages)", dict.fromkeys(("incoming", "active", "deferred", "hold"), 0.0)
    )
    age = prometheus.value("mailfilter_signatures_age_seconds")
    fetched = gateway.cluster.get("pod", "mx-freshclam-0", gateway.namespace)["status"]["startTime"]
    started = time.mktime(time.strptime(fetched, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    # A file's time is five seconds before freshclam asked for it.
    assert 0 <= age <= time.time() - started + 5
    wanted = status["policy"]["wanted"]
    prometheus.wait(f'sum(mailfilter_policy_info{{wanted="{wanted}",in_force="{wanted}"}})', {"": 1})
    prometheus.wait("sum(mailfilter_policy_refused)", {"": 0})
    prometheus.wait("sum(mailfilter_amavis_up)", {"": 1})


def test_a_waiting_mail_shows(gateway: Victim, prometheus: Prometheus) -> None:
    gateway.post.sink_mode("452")
    try:
        mail = message()
        gateway.send(mail)
        prometheus.wait('sum(mailfilter_queue_messages{queue="deferred"})', {"": 1})
        oldest = 'sum(mailfilter_queue_oldest_seconds{queue="deferred"})'
        wait_for(lambda: prometheus.value(oldest) > 0, oldest)
    finally:
        gateway.post.sink_mode("")
    gateway.post.expect(mail, timeout=300)


def test_the_operator_tells_of_conditions_and_of_itself(gateway: Victim, prometheus: Prometheus) -> None:
    # What DNS says of example.com, and how much room a node has, is not the matter here.
    where = f'namespace="{gateway.namespace}",name="mx",type!~"DNSReady|QuarantineSpace"'
    yes = ("Ready", "PolicyActive", "ScannerAvailable", "SignaturesFresh", "QuarantineWritable", "ListsValid")
    conditions = dict.fromkeys(yes, 1.0) | dict.fromkeys(("Progressing", "Suspended", "BackscatterRisk"), 0.0)
    prometheus.wait(f"sum by (type) (mailfilter_condition{{{where}}})", conditions)
    assert prometheus.value('sum(mailfilter_operator_reconciles_total{kind="MailFilter",result="ok"})') > 0
    assert prometheus.value('sum(mailfilter_operator_reconcile_seconds_count{kind="MailFilter"})') > 0
    assert prometheus.value('sum(mailfilter_operator_api_calls_total{resource="configmaps",code=~"20."})') > 0
    prometheus.wait("sum(mailfilter_operator_queue_depth)", {"": 0})


def test_a_gateway_that_went_leaves_no_condition_behind(gateway: Victim, prometheus: Prometheus) -> None:
    gateway.cluster.delete_object("mailfilter", "mx", gateway.namespace)
    prometheus.wait(f'sum(mailfilter_condition{{namespace="{gateway.namespace}"}})', {})
