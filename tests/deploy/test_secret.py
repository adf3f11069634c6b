"""deploy/k8s/secrets.sh: a Secret that fits, new each time, and the key that goes with it."""

from __future__ import annotations

import hashlib
import json
import subprocess

import yaml

from gateway.settings import ApiKey
from tests.deploy.kustomize import K8S


def made(*arguments: str) -> tuple[dict[str, str], str]:
    """Run it; gives the Secret's values and the key of the client."""
    told = subprocess.run(
        [str(K8S / "secrets.sh"), *arguments], check=True, capture_output=True, text=True, timeout=30
    )
    return yaml.safe_load(told.stdout)["stringData"], told.stderr.split()[-1]


def test_the_gateway_knows_the_key_that_is_shown() -> None:
    """Its hash is in the Secret, under the user that was named, and the key itself is not."""
    values, key = made("alice")
    (entry,) = (ApiKey.model_validate(one) for one in json.loads(values["api-keys"]))
    assert entry.key_sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert entry.user == "alice"
    assert key not in json.dumps(values)


def test_each_run_makes_other_secrets() -> None:
    """Nothing that is secret is the same twice."""
    first, second = made("alice")[0], made("alice")[0]
    assert [name for name in first if first[name] == second[name]] == []


def test_stores_elsewhere_are_named() -> None:
    """Addresses and keys that were given are taken as they are."""
    given = ("rediss://:p@r:1/0", "redis+sentinel://:p@s:2/leases/2", "ACCESS", "SECRET")
    values, _ = made("alice", *given)
    assert (
        tuple(values[name] for name in ("redis-url", "lease-redis-url", "s3-access-key", "s3-secret-key"))
        == given
    )
