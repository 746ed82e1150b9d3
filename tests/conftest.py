"""Settings that every test runs under."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# Timings say nothing on a shared machine, so no example has a deadline; the examples are the same in every run.
slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("anyorder", deadline=None, derandomize=True, suppress_health_check=slow)
settings.load_profile("anyorder")

# No test asks the network. Read when huggingface_hub is first imported, so it is set before any test is.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The tests' networks are tiny: more threads cost more than they give, and a test that sets them stays alone."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The development data, named by ANYORDER_DATA; tests that need it are marked ``data`` and skipped without it."""
    return Path(os.environ["ANYORDER_DATA"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the development data where there is none."""
    if os.environ.get("ANYORDER_DATA"):
        return
    missing = pytest.mark.skip(reason="ANYORDER_DATA is not set")
    for item in items:
        if item.get_closest_marker("data") is not None:
            item.add_marker(missing)
