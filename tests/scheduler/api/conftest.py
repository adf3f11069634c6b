"""Fixture: a node, a scheduler and a client of workflows."""

from __future__ import annotations

import pytest

from tests.scheduler.api.flows import Flows, connect
from tests.scheduler.conftest import Harness
from tests.scheduler.fake_node import FakeNode


@pytest.fixture
async def flows(harness: Harness) -> tuple[FakeNode, Flows]:
    """A node with many slots, a scheduler, and a client of workflows."""
    node = await harness.node(slots=20)
    return node, await connect(harness)
