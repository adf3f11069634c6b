"""No user reads, finds, changes or deletes what is another user's, on any route of the gateway, by any key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.app import facades
from gateway.settings import GatewaySettings, Scope
from tests.isolation.attacks import attacks
from tests.isolation.conftest import ALICES, KEYS, SECRET, SHARED, House

pytestmark = pytest.mark.trial("10.13")

ROUTES = [route for facade in facades(GatewaySettings()) for route in facade.routes]
STRANGERS = ("bob", "eve")
WORDS = [content for path, content in ALICES.items() if path != SHARED] + [b"film.mp4", b"inline.wav"]
"""What no answer to a stranger may hold, unless the stranger has said it: contents and names."""


def test_every_route_was_thought_about() -> None:
    """A new route says, in attacks.py, what a stranger could try with it."""
    missing = [f"{route.method} {route.path}" for route in ROUTES if attacks(route) is None]
    assert missing == []


async def test_no_stranger_gets_at_anything(
    house: House, record_property: Callable[[str, object], None]
) -> None:
    """Users × routes: the answer is a refusal, tells nothing that its asker has not said, and nothing has changed."""
    files, tasks = await house.state(), house.tasks()
    breaches = []
    asked = 0
    for route in ROUTES:
        for attack in attacks(route) or []:
            for user in STRANGERS:
                asked += 1
                status, body, location = await house.ask(attack.method, attack.path, user, **attack.more)
                allowed = attack.statuses if route.scope is None or route.scope in KEYS[user] else {403}
                told = [
                    word
                    for word in WORDS
                    if word in body and word.decode() not in f"{attack.path} {attack.more}"
                ]
                changed = (await house.state(), house.tasks()) != (files, tasks)
                exists = b'"exists":true' in body
                if status not in allowed or told or changed or exists or location:
                    breaches.append((user, attack.method, attack.path, status, body[:200], told, changed))
    record_property("isolation_breaches", len(breaches))
    print(f"isolation_breaches {len(breaches)} of {asked} attacks")
    assert breaches == []
    assert asked > 100


async def test_owners_and_administrators_get_through(house: House) -> None:
    """What is refused to strangers works for the owner and for `files:all`; what is shared works for all."""
    for user in ("alice", "root"):
        status, body, _ = await house.ask("GET", f"/v1/files/download/{SECRET}", user)
        assert (status, body) == (200, ALICES[SECRET])
        status, body, _ = await house.ask("GET", "/v1/files/list?recursive=true", user)
        assert all(path.encode() in body for path in ALICES)
    status, body, _ = await house.ask("GET", f"/v1/files/download/{SHARED}", "bob")
    assert (status, body) == (200, b"shared")
    assert (await house.ask("DELETE", f"/v1/files/{SHARED}", "bob"))[0] == 403
    assert (await house.ask("PUT", "/v1/files/bobs/own", "bob", data=b"mine"))[0] == 200
    assert (await house.state())["bobs/own"][0] == "bob"
    assert (await house.ask("DELETE", f"/v1/files/{SECRET}", "root"))[0] == 200


async def test_a_link_outlives_neither_its_file_nor_its_owner(house: House) -> None:
    """A signed link is served by what its maker may do now: what another user has put at its path since is not shown."""
    status, body, _ = await house.ask("GET", "/v1/files/url/swap/film", "alice")
    assert status == 404
    await house.put("swap/film", "alice", b"alice's")
    status, body, _ = await house.ask("GET", "/v1/files/url/swap/film", "alice")
    link = body.split(b'"download_url":"')[1].split(b'"')[0].decode()
    path = link[link.index("/v1/") :]
    async with house.http.get(path) as response:
        assert await response.read() == b"alice's"
    assert (await house.ask("DELETE", "/v1/files/swap/film", "alice"))[0] == 200
    assert (await house.ask("PUT", "/v1/files/swap/film", "bob", data=b"bob's"))[0] == 200
    async with house.http.get(path) as response:
        assert response.status == 404


async def test_tasks_carry_what_their_key_may_read(house: House) -> None:
    """The user comes from the key, and every file is within a task's reach only when it is within the key's."""
    for user, scopes in KEYS.items():
        body = {
            "task_name": "ffmpeg.extract_audio",
            "task_id": f"of-{user}",
            "input_data": {"video_path": SECRET},
        }
        assert (await house.ask("POST", "/v1/tasks", user, json=body))[0] == 202
        spec = house.harness.scheduler.tasks[f"of-{user}"].spec
        assert (spec.user, spec.all_files) == (user, Scope.FILES_ALL in scopes)
