"""deploy/compose.yaml is valid Compose, and says only what the processes know: arguments, variables, addresses, names of nodes."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import jsonschema_rs
import pytest

from filestore.settings import FilestoreSettings
from gateway.settings import GatewaySettings
from gpulock.settings import GpulockSettings
from nodekit.settings import NodeSettings
from runtime import VERSION
from runtime.section_names import OTHER_VARIABLES
from runtime.settings import ProcessSettings, load_settings
from runtime.settings_outline import settings_of
from scheduler.settings import SchedulerSettings
from stack.node_table import read_node_table
from tests.conftest import ROOT
from tests.images.compose import COMPOSE, Service, filled_in, in_order, read_document, read_services

SCHEMA = ROOT / "tools/compose/node_modules/dclint/schemas/compose.schema.json"
ALIASES = {"MINIO_HOST", "MINIO_PORT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"}
"""Variables of the filestore that are older than ours (filestore/settings.py)."""

SETTINGS: dict[str, type[ProcessSettings]] = {
    "gateway": GatewaySettings, "scheduler": SchedulerSettings, "filestore": FilestoreSettings, "gpulock": GpulockSettings,
}  # fmt: skip


def settings_class(service: Service) -> type[ProcessSettings]:
    """What the service's process reads."""
    return SETTINGS.get(service.command[0], NodeSettings)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that deploy/secrets.sh makes."""
    folder = tmp_path_factory.mktemp("secrets") / "made"
    subprocess.run(
        [ROOT / "deploy/secrets.sh", folder, "redis://:pass@redis:6379"],
        check=True,
        timeout=30,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def services(secrets: Path) -> dict[str, Service]:
    return read_services({"SECRETS_FOLDER": str(secrets)})


def test_the_file_is_valid_compose() -> None:
    """The schema of the Compose specification, which knows every key, has nothing against it, and something against a slip."""
    if not SCHEMA.exists():
        pytest.skip("the schema comes with npm: `make test` installs it where npm is at hand")
    schema = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text(encoding="utf-8")))
    document = read_document()
    assert [error.message for error in schema.iter_errors(document)] == []
    document["services"]["gateway"]["read_onyl"] = True
    assert not schema.is_valid(document)


def test_every_process_of_an_installation_has_its_service(services: dict[str, Service]) -> None:
    """The four servers and each node of services/nodes.toml, each in the image of its environment, by the module that starts it."""
    nodes = {
        row.name: (row.module, f"localhost/yivideo-{row.environment}:{VERSION}") for row in read_node_table()
    }
    servers = {name: (name, f"localhost/yivideo-core:{VERSION}") for name in SETTINGS}
    assert {name: (service.command[0], service.image) for name, service in services.items()} == {
        **servers,
        **nodes,
    }
    for service in services.values():
        assert importlib.util.find_spec(f"{service.command[0]}.__main__"), service.name


def test_the_node_that_reads_can_come_out_of_another_image() -> None:
    """`OCR_ENVIRONMENT` names an environment that it can run on; others stay where they are, and models are at hand."""
    (row,) = (row for row in read_node_table() if row.name == "ocr")
    for environment in (row.environment, *row.alternatives):
        services = read_services({"SECRETS_FOLDER": "secrets", "OCR_ENVIRONMENT": environment})
        assert services["ocr"].image == f"localhost/yivideo-{environment}:{VERSION}"
        assert services["asr"].image == f"localhost/yivideo-light:{VERSION}"
        assert services["ocr"].volumes["/models"]


def test_pages_name_the_images_that_there_are() -> None:
    """Commands that are copied must find what `make images` has made: a version that has passed finds nothing."""
    for page in ("docs/compose.md", "deploy/images/README.md", "deploy/k8s/README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = set(re.findall(r"yivideo-[$\w{}]+:(\d+\.\d+\.\d+)", text))
        assert named == {VERSION}, page


def test_every_variable_is_read_by_the_process_that_it_is_given_to(services: dict[str, Service]) -> None:
    """A name that no settings class has would be a setting that quietly is none."""
    for service in services.values():
        known = {setting.variable for setting in settings_of(settings_class(service))} | OTHER_VARIABLES
        known |= ALIASES if service.name == "filestore" else set()
        assert set(service.environment) <= known, service.name


def test_every_process_takes_its_settings(services: dict[str, Service], secrets: Path) -> None:
    """With the files of deploy/secrets.sh each process would start, listens where others can reach it, and has the one token."""
    tokens = set()
    for service in services.values():
        (target,) = service.secrets
        environment = {key: value for key, value in service.environment.items() if key not in ALIASES}
        assert environment["YIVIDEO_CONFIG"] == f"/run/secrets/{target}"
        settings = load_settings(
            settings_class(service), {**environment, "YIVIDEO_CONFIG": str(service.secrets[target])}
        )
        assert settings.runtime.token is not None
        tokens.add(settings.runtime.token.get_secret_value())
        if isinstance(settings, GatewaySettings):
            assert settings.gateway.api_keys, "everybody would be let in"
    assert len(tokens) == 1


def test_addresses_lead_to_services_that_share_a_network(services: dict[str, Service]) -> None:
    """Each `name:port` is a service's, at the port on which it listens, over a network that both are in."""
    listening = {}
    for service in services.values():
        listen = service.environment.get("YIVIDEO_RUNTIME__LISTEN", "0.0.0.0:0")
        listening[service.name] = listen.rpartition(":")[2]
    named = re.compile(r"\b([a-z][a-z0-9_]*):(\d{4,5})\b")
    seen = 0
    for service in services.values():
        for variable, value in service.environment.items():
            for name, port in named.findall(value) if "LISTEN" not in variable else ():
                seen += 1
                assert listening.get(name) == port, (service.name, variable, name)
                assert set(services[name].networks) & set(service.networks), (service.name, variable, name)
    assert seen > len(services), "the addresses were not found"


def test_the_scheduler_knows_every_node_by_its_task_names(services: dict[str, Service]) -> None:
    """A node that is started and not in the scheduler's list would never get work."""
    told = json.loads(services["scheduler"].environment["YIVIDEO_SCHEDULER__NODES"])
    assert {entry["node"]: entry["addresses"] for entry in told} == {
        row.task_prefix: [f"{row.name}:7810"] for row in read_node_table()
    }


def test_containers_have_no_more_than_they_need(services: dict[str, Service]) -> None:
    """Read-only root, no capability, no new privileges; nodes neither on the network of Redis nor with its address."""
    nodes = {row.name for row in read_node_table()}
    for name, entry in read_document()["services"].items():
        assert entry["read_only"] and entry["cap_drop"] == ["ALL"], name
        assert entry["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "user", "pid", "network_mode"} & set(entry), name
        assert ("ports" in entry) == (name == "gateway"), f"{name} is open to the machine's network"
        service = services[name]
        assert any(mount.startswith("/tmp:") for mount in service.tmpfs), name
        if name in nodes:
            assert "redis" not in service.networks
            text = next(iter(service.secrets.values())).read_text(encoding="utf-8")
            assert "redis" not in text and "api_keys" not in text
            assert service.read_only_volumes == set(service.volumes) & {"/models"}


def test_grace_is_what_operations_say(services: dict[str, Service]) -> None:
    """No process is killed while it still drains (docs/operations.md)."""
    for service in services.values():
        settings = load_settings(NodeSettings, {})
        node = settings.runtime.drain_seconds + settings.node.kill_grace_seconds + 15
        scheduler = SchedulerSettings().scheduler.hand_back_seconds + settings.runtime.drain_seconds + 10
        assert service.stop_seconds >= max(node, scheduler), service.name


def test_services_stop_in_the_order_of_trust(services: dict[str, Service]) -> None:
    """Gateway and nodes before the scheduler, which writes down what nodes hand back; the filestore last (docs/operations.md)."""
    order = list(reversed(in_order(services)))
    nodes = [row.name for row in read_node_table()]
    for name in (*nodes, "gateway"):
        assert {"scheduler", "filestore", "gpulock"} <= set(order[order.index(name) :])
    assert order.index("scheduler") < order.index("filestore")


def test_redis_is_on_a_network_that_is_there_already() -> None:
    """The network is the first YiVideo's, or another that is named; this file neither makes nor removes it."""
    for values, name in (({}, "wionch"), ({"REDIS_NETWORK": "mine"}, "mine")):
        assert read_document(values)["networks"]["redis"] == {"external": True, "name": name}


def test_secrets_are_private_complete_and_stay(secrets: Path) -> None:
    """The folder is its owner's; containers can read what is mounted; a second call changes nothing; the key is in one file."""
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert (secrets / "api_key").stat().st_mode & 0o777 == 0o600
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run(
        [ROOT / "deploy/secrets.sh", secrets, "redis://other:1"], check=True, timeout=30, capture_output=True
    )
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    key = before["api_key"].strip()
    assert all(key not in text for name, text in before.items() if name != "api_key")
    assert (secrets / "core.yaml").stat().st_mode & 0o777 == 0o444


def test_variables_are_filled_in_as_compose_does() -> None:
    """An empty value counts as unset where there is a default; no variable of ours is taken for a setting."""
    assert filled_in("${A:-x} ${B}", {"A": "", "B": "b"}) == "x b"
    with pytest.raises(KeyError):
        filled_in("${B}", {})
    assert not re.findall(r"\$\{YIVIDEO_", COMPOSE.read_text(encoding="utf-8"))
    assert "$" not in json.dumps(read_document())
