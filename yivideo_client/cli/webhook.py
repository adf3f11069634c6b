"""`yivideo webhook listen`: receives callbacks on this machine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from yivideo_client.cli.failures import say, told
from yivideo_client.cli.output import print_json_line
from yivideo_client.cli.session import ended_by_signal

app = typer.Typer(no_args_is_help=True, help="Callbacks, while you develop what receives them.")


@app.callback()
def _group() -> None:
    """Callbacks, while you develop what receives them."""


@app.command()
def listen(
    secret: Annotated[
        str, typer.Option(envvar="YIVIDEO_CALLBACK_SECRET", help="whsec_…, or @FILE that holds it.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0: a free one.")] = 8799,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0: never.")] = 0,
) -> None:
    """Write each callback whose signature is good as a line of JSON; others are answered with 401, and told on stderr.

    The stack's secret lies in `.run/callback_secret`, and its scheduler calls this address when that is allowed:
    YIVIDEO_STACK__ALLOW_ADDRESSES='["127.0.0.1:8799"]'.
    """
    with told():
        value = Path(secret[1:]).read_text().strip() if secret.startswith("@") else secret
        asyncio.run(ended_by_signal(_serve(port, value, count)))


async def _serve(port: int, secret: str, count: int) -> None:
    from yivideo_client.callbacks import CallbackReceiver

    receiver = CallbackReceiver(secret, lambda why: say(f"yivideo: refused a request: {why}"))
    async with receiver.listening(port) as address:
        print(f"callbacks go to http://{address}/", file=sys.stderr, flush=True)
        seen = 0
        while not count or seen < count:
            print_json_line(await receiver.next())
            seen += 1
