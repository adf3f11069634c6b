"""`yivideo gpu …`: who holds a device, who waits, and how it is taken back."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from yivideo_client.cli.options import FormatOption
from yivideo_client.cli.output import Format, print_json, print_json_line, print_table
from yivideo_client.cli.session import Session

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

app = typer.Typer(
    no_args_is_help=True, help="GPUs: status, watch, release. Needs a key with the scope `operations`."
)

_LOCK = "/v1/monitoring/gpu-lock"


@app.command()
def status(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """Show each device, who holds it, and who waits."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> tuple[dict[str, object], dict[str, object]]:
        return await client.call("GET", f"{_LOCK}/devices"), await client.call("GET", f"{_LOCK}/waiters")

    devices, waiters = session.run(work)
    if form is Format.JSON:
        print_json({"devices": devices, "waiters": waiters})
        return
    for title, body in (("DEVICES", devices), ("WAITERS", waiters)):
        rows = next((value for value in body.values() if isinstance(value, list)), [])
        print(title if rows else f"{title}  none")
        if rows:
            columns = [name for name, value in rows[0].items() if not isinstance(value, dict | list)]
            print_table(
                [name.upper() for name in columns], [[row.get(name) for name in columns] for row in rows]
            )


@app.command()
def watch(context: typer.Context) -> None:
    """Write every change as a line of JSON, as it happens."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> None:
        async for event in client.stream(f"{_LOCK}/events"):
            print_json_line({"event": event.name, **event.data})

    session.run(work)


@app.command()
def release(
    context: typer.Context,
    lock_key: Annotated[str, typer.Argument(help="For example gpu_lock:0.", show_default=False)],
    reason: Annotated[str, typer.Option(prompt=True, help="Why; it is kept.")],
) -> None:
    """Take a device from its holder: the node kills the work, then the next one gets it."""
    session: Session = context.obj
    body = {"lock_key": lock_key, "reason": reason, "task_name": getpass.getuser()}
    print_json(session.run(lambda client: client.call("POST", f"{_LOCK}/release", body=body)))
