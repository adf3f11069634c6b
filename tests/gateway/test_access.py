"""Who may do what: keys, scopes, owners, origins of pages."""

from __future__ import annotations

import hashlib
import re
import shlex
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from pydantic import ValidationError

from gateway import keys
from gateway.access import Keyring
from gateway.settings import ApiKey, GatewaySection, GatewaySettings, Scope
from runtime.errors import Unauthenticated
from runtime.settings import load_settings
from tests.gateway.conftest import StartHarness
from tests.gateway.routes import ROUTES
from yivideo.task.v1 import task_pb2 as pb

ALICE, BOB, OPERATOR, OLD = (f"yiv_{name}" for name in ("alice", "bob", "operator", "old"))


def entry(key: str, user: str, *scopes: str, expires: datetime | None = None) -> ApiKey:
    """Write one key's settings."""
    fields = {"scopes": frozenset(Scope(scope) for scope in scopes)} if scopes else {}
    return ApiKey(
        key_sha256=hashlib.sha256(key.encode()).hexdigest(), user=user, expires_time=expires, **fields
    )


KEYS = (
    entry(ALICE, "alice"),
    entry(BOB, "bob", "tasks"),
    entry(OPERATOR, "operator", "operations", "tasks"),
    entry(OLD, "alice", expires=datetime(2020, 1, 1, tzinfo=UTC)),
)
TASK = {"task_name": "ffmpeg.extract_audio", "task_id": "t1", "input_data": {"video_path": "a.mp4"}}

CREDENTIALS = [
    ({}, 401),
    ({"X-API-Key": "yiv_wrong"}, 401),
    ({"X-API-Key": ""}, 401),
    ({"X-API-Key": "y" * 5000}, 401),
    ({"X-API-Key": "yiv_\udcff"}, 401),
    ({"X-API-Key": "yiv_ü"}, 401),
    ({"X-API-Key": OLD}, 401),
    ({"Authorization": f"Bearer {OLD}"}, 401),
    ({"Authorization": f"Basic {ALICE}"}, 401),
    ({"Authorization": "Bearer eyJhbGciOi"}, 401),
    ({"X-API-Key": ALICE}, 200),
    ({"Authorization": f"Bearer {ALICE}"}, 200),
    ({"Authorization": f"bearer  {ALICE}"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), CREDENTIALS)
async def test_a_key_is_needed_and_must_be_good(
    start_harness: StartHarness, headers: dict[str, str], status: int
) -> None:
    """None, wrong, expired: 401 with a challenge and one and the same text; good, in either header: 200."""
    async with (
        start_harness(api_keys=KEYS) as harness,
        harness.http.get("/v1/tasks", headers=headers) as response,
    ):
        assert response.status == status
        if status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert (await response.json())["code"] == "UNAUTHENTICATED"
            assert harness.scheduler.requests == []


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [("POST", "/v1/tasks", "tasks"), ("GET", "/v1/files/list", "files"), ("PUT", "/v1/files/x", "files"),
     ("GET", "/v1/queues", "operations"), ("GET", "/v1/dead-letters", "operations"),
     ("POST", "/v1/dead-letters/t1/replay", "operations")],
)  # fmt: skip
async def test_a_key_needs_the_scope(
    start_harness: StartHarness, method: str, path: str, needed: str
) -> None:
    """A key without the route's scope: 403, and no call is made."""
    others = [scope for scope in ("tasks", "files", "operations") if scope != needed]
    async with start_harness(
        api_keys=(entry("yiv_x", "x", *others),), headers={"X-API-Key": "yiv_x"}
    ) as harness:
        async with harness.http.request(method, path) as response:
            assert (response.status, (await response.json())["code"]) == (403, "PERMISSION_DENIED")
        assert harness.scheduler.requests == [] and harness.filestore.headers == []


async def test_the_user_of_a_task_is_the_keys(start_harness: StartHarness) -> None:
    """TaskSpec.user comes from the key; one Idempotency-Key of two users makes two tasks."""
    async with start_harness(api_keys=KEYS) as harness:
        made = set()
        for key in (ALICE, BOB):
            headers = {"X-API-Key": key, "Idempotency-Key": "same"}
            body = {name: value for name, value in TASK.items() if name != "task_id"}
            async with harness.http.post("/v1/tasks", json=body, headers=headers) as response:
                made.add((await response.json())["task_id"])
        assert {harness.scheduler.tasks[task_id].spec.user for task_id in made} == {"alice", "bob"}


OWNED = [
    ("GET", ""), ("GET", "/status"), ("GET", "/result"), ("GET", "/events"), ("GET", "/deliveries"), ("DELETE", ""),
    ("POST", "/retry"), ("POST", "/delete"), ("POST", "/redeliver"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OWNED)
async def test_another_users_task_does_not_exist(start_harness: StartHarness, method: str, path: str) -> None:
    """On every route of a task: 404 as for an unknown one, nothing changed; the owner and an operator get through."""
    async with start_harness(api_keys=KEYS) as harness:
        async with harness.http.post("/v1/tasks", json=TASK, headers={"X-API-Key": ALICE}) as response:
            assert response.status == 202
        await harness.scheduler.complete("t1")
        before = harness.scheduler.tasks["t1"].SerializeToString(deterministic=True)
        async with harness.http.request(
            method, f"/v1/tasks/t1{path}", headers={"X-API-Key": BOB}
        ) as response:
            stranger = await response.json()
            assert (response.status, stranger["code"]) == (404, "TASK_NOT_FOUND")
        async with harness.http.request(
            method, f"/v1/tasks/t9{path}", headers={"X-API-Key": BOB}
        ) as response:
            nobody = await response.json()
            assert stranger["detail"].replace("t1", "t9") == nobody["detail"], "nothing tells the two apart"
        assert harness.scheduler.tasks["t1"].SerializeToString(deterministic=True) == before
        for key in (OPERATOR, ALICE):
            if method != "GET" and key == OPERATOR:
                continue
            async with harness.http.request(
                method, f"/v1/tasks/t1{path}", headers={"X-API-Key": key}
            ) as response:
                assert response.status != 404


async def test_a_list_shows_ones_own(start_harness: StartHarness) -> None:
    """ListTasks asks for the key's user; another's is 403; an operator sees all and may narrow."""
    async with start_harness(api_keys=KEYS) as harness:
        for key, params, status, user in (
            (ALICE, {}, 200, "alice"), (ALICE, {"user": "alice"}, 200, "alice"), (ALICE, {"user": "bob"}, 403, None),
            (OPERATOR, {}, 200, ""), (OPERATOR, {"user": "bob"}, 200, "bob"),
        ):  # fmt: skip
            async with harness.http.get("/v1/tasks", params=params, headers={"X-API-Key": key}) as response:
                assert response.status == status
            if user is not None:
                asked = harness.scheduler.requests[-1]
                assert isinstance(asked, pb.ListTasksRequest) and asked.user == user


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/docs.js"])
async def test_some_routes_are_open(start_harness: StartHarness, path: str) -> None:
    """Probes and documentation need no key."""
    async with start_harness(api_keys=KEYS) as harness, harness.http.get(path) as response:
        assert response.status == 200


def test_every_route_that_is_open_is_known() -> None:
    """A route is open only when this list says so."""
    assert {route.path for route in ROUTES if route.scope is None} == {
        "/healthz", "/readyz", "/metrics", "/test", "/openapi.json", "/docs", "/docs/{name}",
        "/v1/monitoring/openapi.json",
        "/v1/files/presigned/{path:.+}",
    }  # fmt: skip


def test_a_key_expires_at_its_instant() -> None:
    """The clock decides; a time without zone is UTC; a second key of the same user goes on."""
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    for expires in (moment, moment.replace(tzinfo=None)):
        ring = entry("yiv_a", "a", expires=expires)
        assert Keyring([ring], lambda: moment - timedelta(seconds=1)).find("yiv_a") is ring
        with pytest.raises(Unauthenticated):
            Keyring([ring], lambda: moment).find("yiv_a")
        found = Keyring([ring, entry("yiv_b", "a")], lambda: moment).find("yiv_b")
        assert found is not None and found.user == "a"


@pytest.mark.parametrize("listen", ["0.0.0.0:8788", "[::]:8788", "192.0.2.1:80", "example.com:80"])
def test_without_keys_only_loopback_is_listened_on(listen: str) -> None:
    """Settings that would open an unprotected gateway to others do not validate; with a key they do."""
    with pytest.raises(ValidationError, match="api_keys"):
        GatewaySection(listen=listen)
    assert GatewaySection(listen=listen, api_keys=KEYS).listen == listen


@pytest.mark.trial("10.7")
def test_the_key_tool_makes_what_the_settings_take(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m gateway.keys new` prints a key once and, below it, the entry that lets it in; the key is not in the entry."""
    assert keys.main(["new", "--user", "alice", "--days", "30", "--scopes", "tasks, operations"]) == 0
    text = capsys.readouterr().out
    found = re.search(r"yiv_[A-Za-z0-9_-]{43}", text)
    assert found is not None
    _, as_yaml, variable = (part.strip() for part in re.split(r"\n\n(?:in|or in) the [^\n]*\n", text))
    in_file = GatewaySection.model_validate(yaml.safe_load(as_yaml)["gateway"])
    (setting, _, value) = variable.partition("=")
    in_environment = load_settings(GatewaySettings, {setting: shlex.split(value)[0]}).gateway
    assert in_file.api_keys == in_environment.api_keys
    principal = Keyring(in_file.api_keys).find(found[0])
    assert principal is not None
    assert (principal.user, principal.scopes) == ("alice", frozenset({Scope.TASKS, Scope.OPERATIONS}))
    assert "X-API-Key" in text
    assert text.count(found[0]) == 1
    assert keys.new_key() != keys.new_key()


@pytest.mark.trial("10.7")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--user", "al ice"], "--user: "),
        (["--user", ""], "--user: "),
        (["--user", "alice", "--scopes", "tasks,filse"], "--scopes: "),
        (["--user", "alice", "--days", "-3"], "--days: 0 to"),
    ],
)
def test_the_key_tool_refuses_what_the_gateway_refuses(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key with whose entry the gateway would not start is never shown; the option is named."""
    try:
        assert keys.main(["new", *arguments]) == 2
    except SystemExit as ended:
        assert ended.code == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err


ORIGINS = [
    (None, 202), ("http://{host}", 202), ("https://good.example", 202), ("https://evil.example", 403), ("null", 403),
]  # fmt: skip


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
async def test_pages_of_other_sites_change_nothing_without_keys(
    start_harness: StartHarness, origin: str | None, status: int
) -> None:
    """Without keys a browser could be made to act; a foreign Origin is refused for changes unless CORS allows it."""
    async with start_harness(cors_origins=("https://good.example",)) as harness:
        headers = {"Origin": origin.replace("{host}", harness.address)} if origin else {}
        async with harness.http.post("/v1/tasks", json=TASK, headers=headers) as response:
            assert response.status == status
        async with harness.http.get("/v1/tasks/t1", headers=headers) as response:
            assert response.status == (200 if status == 202 else 404)


HOSTS = [
    ("127.0.0.1:8788", 200), ("localhost", 200), ("app.localhost:1", 200), ("[::1]:8788", 200), ("media.example", 200),
    ("evil.example", 403), ("evil.example:8788", 403), ("127.0.0.1.evil.example", 403), ("192.0.2.1", 403),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status"), HOSTS)
async def test_another_name_for_this_machine_is_refused_without_keys(
    start_harness: StartHarness, host: str, status: int
) -> None:
    """A site whose name points here (DNS rebinding) is refused even to read; with keys the name does not matter."""
    async with start_harness(public_url="https://media.example") as harness:
        async with harness.http.get("/v1/tasks", headers={"Host": host}) as response:
            assert response.status == status
    async with start_harness(api_keys=KEYS) as harness:
        async with harness.http.get("/v1/tasks", headers={"Host": host, "X-API-Key": ALICE}) as response:
            assert response.status == 200
