"""What a revision did, for people: what changed, what was refused and why, and in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from subtitles.revision.revision import Revision

_MOST_LISTED = 2000


def summary(revision: Revision) -> dict[str, Any]:
    """Return the numbers: lines, changed, unchanged, refused by reason."""
    changed = sum(revision.text_of(line) != line.text for line in revision.lines)
    reasons = Counter(one.refusal.value for one in revision.refused.values())
    return {
        "lines": len(revision.lines),
        "changed": changed,
        "unchanged": len(revision.lines) - changed,
        "refused": len(revision.refused),
        "refused_by_reason": dict(sorted(reasons.items())),
        "batches": revision.batches,
        "gave_up": revision.gave_up,
    }


def report(revision: Revision) -> dict[str, Any]:
    """Return the numbers with every change and every refusal, at most 2,000 of each."""
    changes = [
        {"id": line.id, "before": line.text, "after": text}
        for line in revision.lines
        if (text := revision.text_of(line)) != line.text
    ]
    refusals = [
        {"id": number, "reason": one.refusal.value, "proposed": one.proposed[:300], "attempts": one.attempts}
        for number, one in sorted(revision.refused.items())
    ]
    return summary(revision) | {"changes": changes[:_MOST_LISTED], "refusals": refusals[:_MOST_LISTED]}
