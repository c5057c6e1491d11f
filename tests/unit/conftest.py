"""Property tests that do the same in each run and know no clock."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit", max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")
