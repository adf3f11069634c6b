"""`make demo`: from nothing to results and a verified callback, with everything real in between."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from runtime.logs import configure_logs
from stack.assembly import Stack
from stack.demo import acts
from stack.demo.acts import NotUnderstood, Script
from stack.demo.film import Film, make_film
from stack.demo.progress_bars import ProgressBars
from stack.folder_lock import FolderTaken
from stack.node_table import read_node_table
from stack.part import PartFailed
from stack.private_files import new_callback_secret
from stack.settings import StackSection
from yivideo_client import AsyncClient, ClientError
from yivideo_client.callbacks import CallbackReceiver

FOLDER = Path(".demo")
_ACT_SECONDS = 120.0


def say(text: str) -> None:
    """Print one line of the story at once."""
    print(text, flush=True)


async def follow(client: AsyncClient, task: dict[str, Any], bars: ProgressBars) -> None:
    """Draw one task's bar until it ends."""
    name = task["task_id"]
    percent = 0.0
    async for event in client.tasks.watch(name):
        if event.progress is not None:
            percent = event.progress.percent
        note = event.data.get("message") or event.data.get("stage") or event.name
        bars.show(name, 100.0 if event.name == "completed" else percent, note)


async def play(client: AsyncClient, receiver: CallbackReceiver, script: Script) -> None:
    """Submit the tasks of an act, draw their bars, and wait for each one's verified callback; `outputs` has what they gave."""
    tasks, script.tasks = script.tasks, []
    for task in tasks:
        answer = await client.tasks.submit(**task)
        waits = f", waits for {' and '.join(task['depends_on'])}" if "depends_on" in task else ""
        say(f"submitted {answer.task_id} ({task['task_name']}{waits})")
    bars = ProgressBars([task["task_id"] for task in tasks])
    async with asyncio.timeout(_ACT_SECONDS):
        await asyncio.gather(*(follow(client, task, bars) for task in tasks))
        bodies: dict[str, Any] = {}
        while len(bodies) < len(tasks):
            body = await receiver.next()
            bodies[body["task_id"]] = body
    for task in tasks:
        body = bodies[task["task_id"]]
        say(f"callback  {body['task_id']}: {body['status']}, signature verified")
        script.outputs[script.key(task)] = (await client.finish(task["task_id"])).output


async def tell(client: AsyncClient, receiver: CallbackReceiver, address: str, film: Film) -> None:
    """Run the story against a running stack: the film, and where there is a voice the narrations."""
    video = (await client.files.upload(film.video, "demo/film.mp4")).path
    subtitles = (await client.files.upload(film.subtitles, "demo/film.srt")).path
    say(
        f"uploaded  {video} ({film.video.stat().st_size / 1e6:.1f} MB, {film.duration_seconds:.1f} s) and {subtitles}"
    )
    run = f"demo-{time.strftime('%H%M%S')}"
    script = Script(
        run, f"http://{address}/callback", frozenset(one.name for one in await client.tasks.types())
    )
    acts.write_film_tasks(script, video, subtitles)
    acts.write_narration_tasks(script)
    await play(client, receiver, script)
    acts.write_hearing_tasks(script)
    if script.tasks:
        await play(client, receiver, script)
    for results in (acts.film_results, acts.reading_results, acts.narration_results, acts.subtitled_results):
        for line in await results(script, client, film, FOLDER):
            say(line)
    report = await client.tasks.delete(f"{run}-keyframes")
    say(
        f"deleted   {run}-keyframes: "
        + ", ".join(f"{r['resource']} {r['status']}" for r in report["results"])
    )


async def fetch_models() -> None:
    """Bring the models that the demo's nodes need or prefer into the store; without those a node is left out, or does with less."""
    rows = (row for row in read_node_table() if row.name in acts.NODES)
    names = sorted({name for row in rows for name in (*row.needs.models, *row.prefers.models)})
    if names:
        fetching = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nodekit.models", "fetch", "--missing", *names
        )
        await fetching.wait()


async def main() -> None:
    """Set the stage, tell the story, clear up."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    await fetch_models()
    film = await asyncio.to_thread(make_film, FOLDER / "film")
    say(f"made      {film.video}: three sentences, two voices, burned-in subtitles")
    secret = new_callback_secret()
    receiver = CallbackReceiver(secret)
    async with receiver.listening() as address:
        section = StackSection(
            folder=FOLDER / "stack",
            gateway_listen="127.0.0.1:0",
            metrics_port=0,
            callback_secret=secret,
            allow_addresses=(address,),
            only=tuple(row.name for row in read_node_table() if row.name in acts.NODES),
        )
        stack = Stack(section)
        async with stack.running():
            say(f"started   {', '.join(stack.part_names)}; REST at {stack.url}")
            for absent in stack.left_out:
                say(f"left out  {absent}")
            for node in stack.nodes:
                if node.lacking:
                    say(f"lesser    {node.row.name}: {'; '.join(node.lacking)}")
            async with AsyncClient(stack.url) as client:
                await tell(client, receiver, address, film)
    say(
        f"stopped   everything, after {time.monotonic() - started:.1f} s; logs are in {FOLDER / 'stack' / 'logs'}"
    )


if __name__ == "__main__":
    configure_logs("demo", level="warning", log_format="console")
    try:
        asyncio.run(main())
    except (ClientError, NotUnderstood, PartFailed, FolderTaken, TimeoutError) as failure:
        sys.exit(f"demo failed: {failure or 'a task did not end in time'}")
    except KeyboardInterrupt:
        sys.exit(130)
