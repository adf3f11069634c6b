"""`make demo`: from nothing to results and a verified callback, with everything real in between."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from results.states import TERMINAL_EVENTS
from runtime.logs import configure_logs
from stack.assembly import Stack, new_callback_secret
from stack.demo.client import Client, RequestRefused
from stack.demo.film import Film, describe_audio, make_film
from stack.demo.progress_bars import ProgressBars
from stack.demo.receiver import CallbackReceiver
from stack.part import PartFailed
from stack.settings import StackSection

FOLDER = Path(".demo")
_PATIENCE_SECONDS = 120.0


def say(text: str) -> None:
    """Print one line of the story at once."""
    print(text, flush=True)


def tasks_for(film: Film, video: str, subtitles: str, callback: str) -> list[dict[str, Any]]:
    """Return the demo's three tasks; the third waits for the first and takes its output."""
    run = f"demo-{time.strftime('%H%M%S')}"
    return [
        {
            "task_id": f"{run}-audio",
            "task_name": "ffmpeg.extract_audio",
            "workflow_id": run,
            "callback": callback,
            "input_data": {"video_path": video},
        },
        {
            "task_id": f"{run}-keyframes",
            "task_name": "ffmpeg.extract_keyframes",
            "workflow_id": run,
            "callback": callback,
            "input_data": {"video_path": video, "keyframe_sample_count": 12},
        },
        {
            "task_id": f"{run}-split",
            "task_name": "ffmpeg.split_audio_segments",
            "workflow_id": run,
            "callback": callback,
            "depends_on": [f"{run}-audio"],
            "input_data": {
                "audio_path": "${{ stages.ffmpeg.extract_audio.output.audio_path }}",
                "subtitle_path": subtitles,
            },
        },
    ]


async def follow(client: Client, task: dict[str, Any], bars: ProgressBars) -> None:
    """Draw one task's bar until it ends."""
    name = task["task_name"]
    percent = 0.0
    async for event in client.events(task["task_id"]):
        if event.name == "progress":
            percent = event.data.get("percent", percent)
        note = event.data.get("message") or event.data.get("stage") or event.name
        bars.show(name, 100.0 if event.name == "completed" else percent, note)
        if event.name in TERMINAL_EVENTS:
            return


async def tell(client: Client, receiver: CallbackReceiver, film: Film) -> None:
    """Run the story against a running stack."""
    video = (await client.upload(film.video, "demo/film.mp4"))["file_path"]
    subtitles = (await client.upload(film.subtitles, "demo/film.srt"))["file_path"]
    say(
        f"uploaded  {video} ({film.video.stat().st_size / 1e6:.1f} MB, {film.duration_seconds:.1f} s) and {subtitles}"
    )

    tasks = tasks_for(film, video, subtitles, f"http://{receiver.address}/callback")
    for task in tasks:
        answer = await client.submit(task)
        waits = f", waits for {task['depends_on'][0]}" if "depends_on" in task else ""
        say(f"submitted {answer['task_id']} ({task['task_name']}{waits})")
    bars = ProgressBars([task["task_name"] for task in tasks])
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await asyncio.gather(*(follow(client, task, bars) for task in tasks))

    for task in tasks:
        body = await receiver.wait_for(task["task_id"], _PATIENCE_SECONDS)
        say(f"callback  {body['task_id']}: {body['status']}, signature verified")
    results = [(await client.result(task["task_id"])) for task in tasks]
    for result in results:
        if result["status"] != "completed":
            raise RequestRefused(
                f"{result['task_id']} ended as {result['status']}: {result['result']['error']}"
            )
    await show_results(client, *(result["result"]["output"] for result in results))
    report = await client.delete(tasks[1]["task_id"])
    say(
        f"deleted   {tasks[1]['task_id']}: "
        + ", ".join(f"{r['resource']} {r['status']}" for r in report["results"])
    )


async def show_results(
    client: Client, audio: dict[str, Any], frames: dict[str, Any], split: dict[str, Any]
) -> None:
    """Print what came out, measured on the downloaded files where that says more than the answer."""
    target = FOLDER / "audio.wav"
    size = await client.download(audio["audio_path"], target)
    facts = await asyncio.to_thread(describe_audio, target)
    say(f"result    {audio['audio_path']}: {facts}, {size / 1e3:.0f} kB downloaded")
    say(f"result    {frames['keyframe_dir']}: {frames['keyframe_files_count']} key frames")
    say(
        f"result    {split['audio_segments_dir']}: {split['successful_segments']} segments, one a spoken sentence"
    )


async def main() -> None:
    """Set the stage, tell the story, clear up."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    film = await asyncio.to_thread(make_film, FOLDER / "film")
    say(f"made      {film.video}: three spoken sentences with burned-in subtitles")
    secret = new_callback_secret()
    receiver = CallbackReceiver(secret)
    section = StackSection(
        folder=FOLDER / "stack",
        gateway_listen="127.0.0.1:0",
        callback_secret=secret,
        allow_addresses=(receiver.address,),
    )
    with receiver.listening():
        stack = Stack(section)
        async with stack.running():
            say(f"started   {', '.join(stack.part_names)}; REST at {stack.url}")
            async with Client(stack.url) as client:
                await tell(client, receiver, film)
    say(
        f"stopped   everything, after {time.monotonic() - started:.1f} s; logs are in {FOLDER / 'stack' / 'logs'}"
    )


if __name__ == "__main__":
    configure_logs("demo", level="warning", log_format="console")
    try:
        asyncio.run(main())
    except (RequestRefused, PartFailed, TimeoutError) as failure:
        sys.exit(f"demo failed: {failure or 'a task did not end in time'}")
    except KeyboardInterrupt:
        sys.exit(130)
