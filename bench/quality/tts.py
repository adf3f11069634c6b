"""How well speech is understood, and how exactly it keeps loudness and length: `python -m bench.quality.tts`.

Sentences are spoken through the node and heard by Whisper base. Voices were chosen on the even sentences; what is reported are
the odd ones (`--chosen` shows the others). The recogniser errs too, so that the rates are an upper bound. Ends with one line
`RESULT {...}` and with status 1 when a gate is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest
from services.tts import hearing
from services.tts.node import node

CHINESE = (
    "大家好，欢迎收看今天的节目。",
    "今天的天气很好，我们一起去公园散步吧。",
    "中国的首都是北京，人口超过两千万。",
    "他昨天晚上工作到很晚，所以今天起得比较迟。",
    "这本书讲的是一个年轻人在城市里寻找梦想的故事。",
    "请把手机调成静音，电影马上就要开始了。",
    "科学家发现，每天运动三十分钟对身体很有好处。",
    "妈妈做的饭菜总是最好吃的，尤其是红烧肉。",
    "火车站离这里不远，走路大概需要十分钟。",
    "如果你有任何问题，请随时联系我们的客服人员。",
    "春天来了，花园里的花都开了，非常漂亮。",
    "学习一门新的语言需要时间和耐心。",
)
ENGLISH = (
    "Welcome to the evening news, and thank you for joining us.",
    "The weather will be sunny in the morning with some rain later in the day.",
    "She opened the window and looked out over the quiet street.",
    "Our company has offices in seven countries and employs two thousand people.",
    "Please remember to switch off your phone before the film begins.",
    "The train to London leaves from platform nine in five minutes.",
    "He had never seen so many books in one place before.",
    "Scientists have found that walking every day is good for the heart.",
    "If you have any questions, please do not hesitate to contact us.",
    "The old man told the children a story about a ship and a storm.",
    "We drove through the mountains until we reached a small village.",
    "Learning a new language takes time, patience and a lot of practice.",
)
TARGETS = (-16.0, -23.0)
GATES = {"tts_zh_cer": 0.12, "tts_en_wer": 0.08, "tts_loudness_error_lu": 0.5, "tts_duration_error": 0.03}


async def say(under_test: NodeUnderTest, number: int, **fields: Any) -> tuple[dict[str, Any], Path]:
    """Speak through the node; gives its output and the file."""
    result = await under_test.run("indextts.generate_speech", fields, task_id=f"t{number}", wait_seconds=120)
    if result.outcome != "completed":
        raise SystemExit(f"the node failed: {result.error.code}: {result.error.message}")
    return result.output, result.file("audio_path")


async def understood(
    under_test: NodeUnderTest, ears: Any, texts: tuple[str, ...], language: str, first: int
) -> float:
    """Return the error rate of half of the sentences, all their errors over all their length."""
    errors = length = 0.0
    for number, text in enumerate(texts):
        if number % 2 != first:
            continue
        _, path = await say(under_test, number + (0 if language == "zh" else 100), text=text)
        heard = hearing.hear(ears, path, text, language)
        size = len(text.split()) if language == "en" else len(text)
        errors, length = errors + heard.error_rate * size, length + size
        print(f"  {heard.error_rate:5.2f}  {text}\n         {heard.text}")
    return errors / length


async def exact(under_test: NodeUnderTest) -> tuple[float, float]:
    """Return the largest error of loudness in LU, and of length as a share, over voices and targets within reach."""
    loudness, duration = [], []
    number = 200
    for text in (CHINESE[1], ENGLISH[1]):
        plain, _ = await say(under_test, number, text=text, loudness=None)
        for target in TARGETS:
            for stretch in (0.9, 1.15):
                number += 1
                wanted = plain["duration"] * stretch
                output, _ = await say(under_test, number, text=text, loudness=target, target_duration=wanted)
                loudness.append(abs(output["loudness_lufs"] - target))
                duration.append(abs(output["duration_error"]))
        number += 1
    return max(loudness), max(duration)


async def measure(first: int) -> dict[str, float]:
    """Measure everything; `first` 1: the half that is reported."""
    ears = hearing.load(model_store().folder(hearing.MODEL), 2)
    with tempfile.TemporaryDirectory() as scratch:
        async with NodeUnderTest(node, Path(scratch)) as under_test:
            result = {
                "tts_zh_cer": await understood(under_test, ears, CHINESE, "zh", first),
                "tts_en_wer": await understood(under_test, ears, ENGLISH, "en", first),
            }
            result["tts_loudness_error_lu"], result["tts_duration_error"] = await exact(under_test)
    return {name: round(value, 4) for name, value in result.items()}


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chosen", action="store_true", help="the half that voices were chosen on")
    result = asyncio.run(measure(0 if parser.parse_args().chosen else 1))
    missed = [name for name, gate in GATES.items() if result[name] > gate]
    print("RESULT " + json.dumps(result))
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
