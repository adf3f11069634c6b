"""Lua by name, as scripts and as a library of functions: both pass one suite on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from redis.exceptions import ResponseError

from redislink.lua import Library, LuaByName, Scripts, load_library, load_scripts
from redislink.pipe import Pipe

ADD = "return {tostring(#KEYS), ARGV[1] + ARGV[2]}"
LIBRARY_PRELUDE = """
local KEYS, ARGV
local function script(name, body)
  redis.register_function(NAMES .. name, function(keys, args) KEYS, ARGV = keys, args; return body() end)
end
"""


def as_scripts(text: str) -> LuaByName:
    return Scripts({"add": text})


def as_library(text: str) -> LuaByName:
    return Library("test", LIBRARY_PRELUDE, {"add": text + "\n"})


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[Pipe]:
    """A connection to a Redis that has no Lua."""
    made = Pipe(redis_url, name="test")
    await made.call("SCRIPT", "FLUSH")
    await made.call("FUNCTION", "FLUSH")
    yield made
    await made.call("FUNCTION", "FLUSH")
    made.end()


KINDS = pytest.mark.parametrize("kind", [as_scripts, as_library])


@KINDS
async def test_a_name_is_called_once_redis_has_it(pipe: Pipe, kind: Callable[[str], LuaByName]) -> None:
    """Redis says that it lacks a name before it does anything, and has it after it was loaded, by whomever and how often."""
    lua = kind(ADD)
    with pytest.raises(ResponseError) as refused:
        await pipe.call(*lua.head("add"), 0, 2, 3)
    assert lua.is_missing(refused.value)
    await lua.load(pipe, "add")
    await lua.load(pipe, "add")
    assert await pipe.call(*lua.head("add"), 0, 2, 3) == [b"0", 5]


@KINDS
async def test_an_error_in_the_code_is_not_taken_for_a_missing_name(
    pipe: Pipe, kind: Callable[[str], LuaByName]
) -> None:
    """It would be loaded and run again for ever."""
    lua = kind("return redis.error_reply('ERR no such thing')")
    await lua.load(pipe, "add")
    with pytest.raises(ResponseError) as failed:
        await pipe.call(*lua.head("add"), 0, 2, 3)
    assert not lua.is_missing(failed.value)


@KINDS
def test_another_text_has_another_name(kind: Callable[[str], LuaByName]) -> None:
    """Versions that run side by side in a rolling update do not run each other's code."""
    assert kind(ADD).head("add") != kind(ADD + " ").head("add")


def test_an_unknown_name_is_an_error_before_redis_is_asked() -> None:
    """A typing error is no reason to load anything."""
    for lua in (Scripts(load_scripts("scheduler")), load_library("gpulock")):
        with pytest.raises(KeyError):
            lua.head("nothing")
