"""Tasks of other users: no reference, dependency, workflow or id makes one give what it made to somebody else's task."""

from __future__ import annotations

import pytest

from runtime.errors import BadReference, InvalidArgument, InvalidInput, TaskConflict, YiVideoError
from tests.scheduler.conftest import Client, Harness
from tests.scheduler.fake_node import FakeNode

pytestmark = pytest.mark.trial("10.13")

SECRET = "alices/secret.wav"
ATTEMPTS: dict[str, tuple[str, type[YiVideoError], dict[str, object]]] = {
    "by task id": ("${{ tasks.hers.output.audio_path }}", BadReference, {}),
    "by stage": ("${{ stages.media.extract.output.audio_path }}", BadReference, {}),
    "by stage of her workflow": (
        "${{ stages.media.extract.output.audio_path }}", BadReference, {"workflow_id": "w"},
    ),
    "by task id in her workflow": ("${{ tasks.hers.output.audio_path }}", BadReference, {"workflow_id": "w"}),
    "by dependency": ("x.mp4", InvalidArgument, {"depends_on": ["hers"]}),
    "by dependency in her workflow": ("x.mp4", InvalidArgument, {"depends_on": ["hers"], "workflow_id": "w"}),
}  # fmt: skip


@pytest.fixture
async def alices(harness: Harness) -> tuple[FakeNode, Client]:
    """A node and a scheduler, and a task of alice's that has made something."""
    node = await harness.node(slots=20)
    client = await harness.scheduler()
    await client.submit("hers", user="alice", workflow_id="w")
    await (await node.arrival("hers")).complete({"audio_path": SECRET})
    await client.ended("hers")
    return node, client


@pytest.mark.parametrize("way", ATTEMPTS)
async def test_what_another_user_made_is_not_referred_to(alices: tuple[FakeNode, Client], way: str) -> None:
    """Refused as what does not exist is, word for word, and without telling what is there; her own tasks may."""
    _, client = alices
    source, error, more = ATTEMPTS[way]
    values = {"video_path": source}
    with pytest.raises(error) as refused:
        await client.submit("his", "media.split", user="bob", input=values, **more)
    assert SECRET not in str(refused.value)
    nothing = {"video_path": source.replace("hers", "none").replace("media.extract", "media.split")}
    more = {name: ["none"] if name == "depends_on" else value for name, value in more.items()}
    with pytest.raises(error) as unknown:
        await client.submit("his", "media.split", user="bob", input=nothing, **more)
    same = str(unknown.value).replace("none", "hers").replace("'media.split'", "'media.extract'")
    assert str(refused.value) == same
    if "stage" not in way or "workflow_id" in more:
        task = await client.submit("also-hers", "media.split", user="alice", input=values, workflow_id="w")
        assert task.spec.user == "alice"


async def test_a_field_that_is_left_out_is_not_filled_from_another_users(
    alices: tuple[FakeNode, Client],
) -> None:
    """The workflow's name opens nothing: what is taken from upstream stages is taken from one's own."""
    _, client = alices
    with pytest.raises(InvalidInput):
        await client.submit("his", "media.split", user="bob", input={}, workflow_id="w")


async def test_the_id_of_another_users_task_is_taken(alices: tuple[FakeNode, Client]) -> None:
    """The same request of another user is another request: it is refused, and gets nothing of the result."""
    _, client = alices
    with pytest.raises(TaskConflict) as refused:
        await client.submit("hers", user="bob", workflow_id="w")
    assert SECRET not in str(refused.value)
