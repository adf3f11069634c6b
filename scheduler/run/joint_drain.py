"""The end of a scheduler that is told to stop: what draining nodes hand back is waited for.

Schedulers and nodes of one installation are often told to stop at the same moment. What a draining node hands back counts as
handed back only when it is written down, and the node keeps it for its next process only where its folder survives. So a scheduler
that follows attempts on draining nodes stays until these have ended. Nodes that go on are none of its business any more: another
scheduler attaches to their attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SAY_SO_SECONDS = 0.25
"""How much later than we a node that is told to stop may say that it drains."""
_LOOK_SECONDS = 0.02


async def await_draining_nodes(
    has_attempts: Callable[[], bool], is_draining: Callable[[], bool], most_seconds: float
) -> None:
    """Wait while there are attempts on nodes that drain, and a moment longer for nodes that do not say so yet."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while has_attempts() and (waited := loop.time() - begin) < most_seconds:
        if not is_draining() and waited > _SAY_SO_SECONDS:
            return
        await asyncio.sleep(_LOOK_SECONDS)
