"""All objects of a MailFilter, as files."""

import pytest
import yaml

from mailfilter.stack import KINDS, desired_objects
from support.samples import SAMPLES, check_golden, gateway


@pytest.mark.parametrize("name", SAMPLES)
def test_objects(name: str) -> None:
    objects = desired_objects(gateway(SAMPLES[name]))
    order = [kind for _, kind in KINDS]
    positions = [order.index(each["kind"]) for each in objects]
    assert positions == sorted(positions), "what pods need comes before pods"
    assert {(each["apiVersion"], each["kind"]) for each in objects} == set(KINDS)
    for each in objects:
        if each["kind"] == "ConfigMap":
            # Their content has golden files of its own.
            each["data"] = dict.fromkeys(each["data"], "…")
    check_golden(f"{name}/objects.yaml", yaml.safe_dump_all(objects, sort_keys=True, allow_unicode=True, width=120))
