"""Lua by name, as a library of functions, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError

from redislink.lua import Library, load_library
from redislink.pipe import Pipe

ADD = "return {tostring(#KEYS), ARGV[1] + ARGV[2]}"
PRELUDE = """
local KEYS, ARGV
local function script(name, body)
  redis.register_function(NAMES .. name, function(keys, args) KEYS, ARGV = keys, args; return body() end)
end
"""


def library(text: str) -> Library:
    return Library("test", {"add": text + "\n", "prelude": PRELUDE})


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[Pipe]:
    """A connection to a Redis that has no Lua."""
    made = Pipe(redis_url, name="test")
    await made.call("FUNCTION", "FLUSH")
    yield made
    await made.call("FUNCTION", "FLUSH")
    made.end()


async def test_a_name_is_called_once_redis_has_it(pipe: Pipe) -> None:
    """Redis says that it lacks a name before it does anything, and has it after it was loaded, by whomever and how often."""
    lua = library(ADD)
    with pytest.raises(ResponseError) as refused:
        await pipe.call(*lua.head("add"), 0, 2, 3)
    assert lua.is_missing(refused.value)
    await lua.load(pipe)
    await lua.load(pipe)
    assert await pipe.call(*lua.head("add"), 0, 2, 3) == [b"0", 5]


async def test_an_error_in_the_code_is_not_taken_for_a_missing_name(pipe: Pipe) -> None:
    """It would be loaded and run again for ever."""
    lua = library("return redis.error_reply('ERR no such thing')")
    await lua.load(pipe)
    with pytest.raises(ResponseError) as failed:
        await pipe.call(*lua.head("add"), 0, 2, 3)
    assert not lua.is_missing(failed.value)


def test_another_text_has_another_name() -> None:
    """Versions that run side by side in a rolling update do not run each other's code."""
    assert library(ADD).head("add") != library(ADD + " ").head("add")


@pytest.mark.parametrize("package", ["scheduler", "gpulock"])
def test_an_unknown_name_is_an_error_before_redis_is_asked(package: str) -> None:
    """A typing error is no reason to load anything; a prelude is no script."""
    for name in ("nothing", "prelude"):
        with pytest.raises(KeyError):
            load_library(package).head(name)
