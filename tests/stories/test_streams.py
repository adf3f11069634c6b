"""Event streams on real processes: cut at random, a scheduler replica killed under them, and many watchers; nothing is lost."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from bench.streams.clients import Cuts, SseClient
from bench.streams.installation import Installation
from bench.streams.story import Verdict, cut_streams, judge, many_watchers


@pytest.mark.slow
async def test_cut_streams_miss_nothing_and_watchers_share(tmp_path: Path) -> None:
    """`make bench-streams`, short: cuts over SSE, gRPC and polling, each replica killed; then watchers of one gateway."""
    seed = secrets.randbelow(2**32)
    print("seed", seed)
    installation = Installation(tmp_path, schedulers=2, watchers=200)
    async with installation.running():
        cut = await cut_streams(installation, 120, random.Random(seed), tasks=5, each=3, seconds=4, kill=True)
        assert sum(cut.disconnects.values()) == 120 and set(cut.disconnects) == {"sse", "grpc", "poll"}
        assert (cut.missing, cut.duplicate, cut.wrong, cut.gaps) == (0, 0, 0, 0), cut
        assert cut.kills >= 2
        many = await many_watchers(installation, 200, 4, 4)
        assert (many.missing, many.shared) == (0, 4)
        assert many.before.readers == many.during.readers == 2, "one reader a scheduler replica"
        assert many.during.blocked == 0


@pytest.mark.parametrize(
    ("told", "missing", "duplicate", "wrong"),
    [
        ([1, 2, 3], 0, 0, False),
        ([1, 3], 1, 0, False),
        ([1, 2, 2, 3], 0, 1, False),
        ([1, 3, 2], 0, 0, True),
        ([1, 2, 3, 4], 0, 0, True),
    ],
)
def test_the_judge_sees_every_fault(
    tmp_path: Path, told: list[int], missing: int, duplicate: int, wrong: bool
) -> None:
    """A judge that cannot say no proves nothing."""
    client = SseClient(Installation(tmp_path, 1, 1), "t", Cuts(0, random.Random(0)))
    client.seen = [(n, "log", str(n)) for n in told]
    verdict = Verdict()
    judge(verdict, client, [(n, "log", str(n)) for n in (1, 2, 3)])
    assert (verdict.missing, verdict.duplicate, bool(verdict.wrong)) == (missing, duplicate, wrong)
