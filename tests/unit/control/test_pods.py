"""The pods of a gateway."""

import pytest

from mailfilter.control.facts import Pod, held_up
from mailfilter.control.pods import lags
from support.samples import with_changes
from support.situations import NEW, OLD, REFUSED, amavis, mirror, postfix, silent


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (amavis(), False),
        (amavis(mounted=OLD, inForce=OLD), True),
        (amavis(inForce=OLD), True),
        (amavis(inForce=OLD, refused=REFUSED), False),
        (postfix(), False),
        (postfix(mounted=OLD), True),
        (postfix(inForce=OLD), False),
        (silent(amavis()), False),
        (mirror(), False),
    ],
)
def test_a_pod_whose_volume_lags(pod: Pod, expected: bool) -> None:
    assert lags(pod, NEW) is expected


def test_a_pod_that_cannot_start_is_quoted() -> None:
    waiting = {"name": "amavis", "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "no such image"}}}
    assert held_up({"containerStatuses": [waiting]}) == "container amavis: ErrImageNeverPull no such image"
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "no nodes"}
    assert held_up({"conditions": [unscheduled]}) == "not scheduled: no nodes"
    coming = with_changes(waiting, state={"waiting": {"reason": "ContainerCreating"}})
    assert held_up({"containerStatuses": [coming, {"name": "x", "state": {"running": {}}}]}) is None
