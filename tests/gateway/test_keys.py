"""Keys while the gateway runs: listed, revoked for good, and held to a rate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.rate_limits import RateLimits, parsed
from gateway.settings import ApiKey, GatewaySection
from runtime import errors
from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.test_access import ALICE, BOB, KEYS, OPERATOR, entry

AS_OPERATOR = {"X-API-Key": OPERATOR}
AS_ALICE = {"X-API-Key": ALICE}


async def status(harness: Harness, headers: dict[str, str]) -> int:
    async with harness.http.get("/v1/tasks", headers=headers) as response:
        return response.status


async def listed(harness: Harness) -> list[dict[str, Any]]:
    async with harness.http.get("/v1/keys", headers=AS_OPERATOR) as response:
        assert response.status == 200
        keys: list[dict[str, Any]] = (await response.json())["keys"]
        return keys


@pytest.mark.trial("10.14")
async def test_keys_are_listed_and_revoked_while_the_gateway_runs(start_harness: StartHarness) -> None:
    """By an operator: refused at once, told in the list, refused after a restart and at another gateway; never shown."""
    async with start_harness(api_keys=KEYS, revocation_seconds=0.02) as harness:
        before = await listed(harness)
        assert [key["user"] for key in before if key["active"]].count("alice") == 1
        assert not any(ALICE in str(key) or KEYS[0].key_sha256 in str(key) for key in before)
        key_id = KEYS[0].key_sha256[:16]
        async with harness.http.delete(f"/v1/keys/{key_id}?reason=lost", headers=AS_ALICE) as response:
            assert response.status == 403
        async with harness.http.delete(f"/v1/keys/{key_id}?reason=lost", headers=AS_OPERATOR) as response:
            revoked = await response.json()
        assert (revoked["active"], revoked["revoked_by"], revoked["reason"]) == (False, "operator", "lost")
        assert await status(harness, AS_ALICE) == 401
        assert await status(harness, {"X-API-Key": BOB}) == 200
        assert next(key for key in await listed(harness) if key["key_id"] == key_id)["revoked_at"]
        own = KEYS[2].key_sha256[:16]
        for wrong, expected in ((own, 400), ("0" * 16, 404), (key_id[:8], 404)):
            async with harness.http.delete(f"/v1/keys/{wrong}", headers=AS_OPERATOR) as response:
                assert response.status == expected, wrong
        elsewhere = harness.access.revoked.pop(KEYS[0].key_sha256)
        async with asyncio.timeout(5):
            while await status(harness, AS_ALICE) != 200:  # the scheduler's word counts
                await asyncio.sleep(0.01)
        harness.access.revoked[KEYS[0].key_sha256] = elsewhere
        async with asyncio.timeout(5):
            while await status(harness, AS_ALICE) != 401:
                await asyncio.sleep(0.01)


async def test_no_key_counts_before_it_is_known_which_were_revoked(start_harness: StartHarness) -> None:
    """A gateway that starts while the scheduler is away lets nobody in: 503, until it was told."""
    async with start_harness(api_keys=KEYS, revocation_seconds=0.02) as harness:
        harness.access.fail = errors.Unavailable("away")
        async with asyncio.timeout(5):
            assert await status(harness, AS_ALICE) == 200, "what was known stays known"
    from gateway.key_state import KeyState

    with pytest.raises(errors.Unavailable):
        KeyState(GatewaySection(api_keys=KEYS)).admit(KEYS[0])


@pytest.mark.trial("10.14")
async def test_a_key_is_held_to_its_rate(start_harness: StartHarness) -> None:
    """Past it: 429 with Retry-After, for that key alone; a key\'s own limit goes before the installation\'s."""
    keys = (
        entry(ALICE, "alice"),
        ApiKey(key_sha256=entry(BOB, "bob").key_sha256, user="bob", rate_limit=""),
    )
    async with start_harness(api_keys=keys, rate_limit="2/hour") as harness:
        assert [await status(harness, AS_ALICE) for _ in range(2)] == [200, 200]
        async with harness.http.get("/v1/tasks", headers=AS_ALICE) as response:
            assert (response.status, (await response.json())["code"]) == (429, "RESOURCE_EXHAUSTED")
            assert 1790 <= int(response.headers["Retry-After"]) <= 1800
        assert [await status(harness, {"X-API-Key": BOB}) for _ in range(5)] == [200] * 5


def test_so_many_at_once_then_one_after_the_other() -> None:
    """Of `3/minute; 4/hour`: three at once, one 20 s later, and then the hour's step; a refused one counts nothing."""
    now = [0.0]
    rates, limits = RateLimits(lambda: now[0]), parsed("3/minute; 4/hour")
    for _ in range(3):
        rates.take("k", limits)
    for _ in range(2):
        with pytest.raises(errors.ResourceExhausted) as refused:
            rates.take("k", limits)
        assert refused.value.retry_after_seconds == pytest.approx(20)
    now[0] = 20.0
    rates.take("k", limits)
    now[0] = 60.0
    with pytest.raises(errors.ResourceExhausted, match="4 requests in 3600 s") as hourly:
        rates.take("k", limits)
    assert hourly.value.retry_after_seconds == pytest.approx(900 - 60)
    rates.take("other", limits)


def test_a_limit_that_is_none_is_refused_at_the_start() -> None:
    """Settings name it."""
    for wrong in ("often", "3/fortnight", "-1/minute"):
        with pytest.raises(ValidationError):
            GatewaySection(rate_limit=wrong)
