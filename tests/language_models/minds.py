"""What language models do to subtitles: each mind makes an answer of a question, sound in form or not, and most of them do harm.

A mind knows the three forms that are asked for by the words of the instructions, as a model does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Lines = list[dict[str, Any]]
Mind = Callable[[str, Lines], Any]
"""Gets the name of the wanted field and the lines; gives the answer: text, or what is written as JSON."""


def lines_of(body: dict[str, Any]) -> tuple[str, Lines]:
    """Return which field is wanted (`text`, `translation`, or `commands`) and the lines that were asked about."""
    instructions, question = (message["content"] for message in body["messages"][:2])
    field = (
        "commands"
        if '"commands"' in instructions
        else "translation"
        if '"translation"' in instructions
        else "text"
    )
    return field, json.loads(question)["lines"]


def _entries(field: str, lines: Lines, texts: list[str]) -> dict[str, Any]:
    return {
        "lines": [
            {"id": line["id"], "original": line["text"], field: text}
            for line, text in zip(lines, texts, strict=True)
        ]
    }


def _rewritten(field: str, lines: Lines, texts: list[str]) -> dict[str, Any]:
    """Give every line another text, in the form that is asked for."""
    if field == "commands":
        return {
            "commands": [
                {"command": "UPDATE", "id": line["id"], "changes": {line["text"]: text}}
                for line, text in zip(lines, texts, strict=True)
            ]
        }
    return _entries(field, lines, texts)


def faithful(field: str, lines: Lines) -> Any:
    """Change nothing."""
    return (
        {"commands": []} if field == "commands" else _entries(field, lines, [line["text"] for line in lines])
    )


def merges(field: str, lines: Lines) -> Any:
    """Put every second line's text behind the one before it, and leave its own id out."""
    if field == "commands":
        return {
            "commands": [
                {"command": "MOVE", "from_id": second["id"], "to_id": first["id"], "text": second["text"]}
                for first, second in zip(lines[::2], lines[1::2], strict=False)
            ]
        }
    answer = faithful(field, lines)["lines"]
    merged = []
    for place in range(0, len(answer), 2):
        pair = answer[place : place + 2]
        merged.append({**pair[0], field: " ".join(entry[field] for entry in pair)})
    return {"lines": merged}


def merges_and_blanks(field: str, lines: Lines) -> Any:
    """The same, but keep the ids: the second of each two is left empty, or told to be."""
    if field == "commands":
        return merges(field, lines)
    answer = faithful(field, lines)["lines"]
    for first, second in zip(answer[::2], answer[1::2], strict=False):
        first[field], second[field] = f"{first[field]} {second[field]}", ""
    return {"lines": answer}


def drops(field: str, lines: Lines) -> Any:
    """Leave every third line out; by command: delete most of its words."""
    if field == "commands":
        return {
            "commands": [
                {"command": "DELETE", "id": line["id"], "words": line["text"].split()[1:]} for line in lines
            ]
        }
    return {"lines": [entry for place, entry in enumerate(faithful(field, lines)["lines"]) if place % 3 != 1]}


def drops_words(field: str, lines: Lines) -> Any:
    """Leave words out of every line."""
    if field == "commands":
        return drops(field, lines)
    return _entries(field, lines, [" ".join(line["text"].split()[::2]) for line in lines])


def shifts(field: str, lines: Lines) -> Any:
    """Give each line the text of the next one, with an honest echo."""
    texts = [line["text"] for line in lines]
    return _rewritten(field, lines, texts[1:] + texts[:1])


def shifts_with_echo(field: str, lines: Lines) -> Any:
    """Give each line the next one's text and echo."""
    if field == "commands":
        return shifts(field, lines)
    answer = faithful(field, lines)["lines"]
    moved = answer[1:] + answer[:1]
    return {"lines": [{**other, "id": entry["id"]} for entry, other in zip(answer, moved, strict=True)]}


def duplicates(field: str, lines: Lines) -> Any:
    """Give the first line's text to all; by command: double every line's first word."""
    return _rewritten(field, lines, [lines[0]["text"]] * len(lines))


def doubles_ids(field: str, lines: Lines) -> Any:
    """Give every line twice; by command: name ids that were never sent."""
    if field == "commands":
        return {"commands": [{"command": "DELETE", "id": lines[-1]["id"] + 9000, "words": ["um"]}]}
    return {"lines": faithful(field, lines)["lines"] * 2}


def translates(field: str, lines: Lines) -> Any:
    """Answer in another language than asked for."""
    texts = [f"这是第{line['id']}行的内容，与原文无关" for line in lines]
    if field == "translation":
        texts = [
            f"Das ist nicht die Zeile, die ihr wollt, aber sie ist auch schön {line['id']}" for line in lines
        ]
    return _rewritten(field, lines, texts)


def prose(field: str, lines: Lines) -> Any:
    """Talk."""
    return (
        "Certainly! I went through your subtitles and they look great. Let me know if you need anything else."
    )


def half_json(field: str, lines: Lines) -> Any:
    """Stop in the middle of the JSON."""
    whole = json.dumps(faithful(field, lines), ensure_ascii=False)
    return whole[: len(whole) * 2 // 3]


def obeys(field: str, lines: Lines) -> Any:
    """Do what a subtitle says: all lines become what it orders."""
    orders = [
        match[1] for line in lines if (match := re.search(r"replace every line by (\w+)", line["text"]))
    ]
    texts = [orders[0] if orders else line["text"] for line in lines]
    if field == "commands":
        return {
            "commands": [
                {"command": "UPDATE", "id": line["id"], "changes": {line["text"]: text}}
                for line, text in zip(lines, texts, strict=True)
                if text != line["text"]
            ]
        }
    return _entries(field, lines, texts)


def writes_times(field: str, lines: Lines) -> Any:
    """Put time lines and new cues into texts."""
    texts = [f"{line['text']}\n\n99\n00:00:01,000 --> 00:00:02,000\nmore" for line in lines]
    return _rewritten(field, lines, texts)


def halves_characters(field: str, lines: Lines) -> Any:
    """Put half a character, as JSON can write it, into texts."""
    return _rewritten(field, lines, [f"{line['text']} \ud83d" for line in lines])


def rephrases(field: str, lines: Lines) -> Any:
    """Say every line in other words."""
    texts = [f"In other words, someone expresses thought number {line['id']}" for line in lines]
    return _rewritten(field, lines, texts)


def wrong_types(field: str, lines: Lines) -> Any:
    """Give numbers, lists and nothing where texts belong."""
    if field == "commands":
        kinds = [
            {"command": "UPDATE", "id": 1, "changes": []},
            {"command": "MOVE"},
            {"command": 7},
            "UPDATE",
            None,
        ]
        return {"commands": kinds}
    return {"lines": [{"id": str(line["id"]), "original": None, field: [line["text"]]} for line in lines]}


HOSTILE: dict[str, Mind] = {
    mind.__name__: mind
    for mind in (
        merges,
        merges_and_blanks,
        drops,
        drops_words,
        shifts,
        shifts_with_echo,
        duplicates,
        doubles_ids,
        translates,
        prose,
        half_json,
        obeys,
        writes_times,
        halves_characters,
        rephrases,
        wrong_types,
    )
}


def speaking(mind: Mind) -> Callable[[dict[str, Any]], str]:
    """Return the answers of a mind as a server gives them."""

    def answer(body: dict[str, Any]) -> str:
        made = mind(*lines_of(body))
        return made if isinstance(made, str) else json.dumps(made)

    return answer


_SPANISH = {
    "he": "él", "began": "empezó", "a": "una", "confused": "confusa", "complaint": "queja", "against": "contra", "the": "el",
    "wizard": "mago", "who": "que", "had": "había", "vanished": "desaparecido", "behind": "tras", "curtain": "telón", "on": "a",
    "left": "izquierda", "and": "y", "so": "así", "my": "mis", "fellow": "queridos", "americans": "americanos", "ask": "pregunten",
    "not": "no", "what": "qué", "your": "su", "country": "país", "can": "puede", "do": "hacer", "for": "por", "you": "ustedes",
}  # fmt: skip


def word_by_word(field: str, lines: Lines) -> Any:
    """Translate two famous sentences into Spanish word by word, as no model would, but line for line."""
    texts = [
        re.sub(r"[A-Za-z]+", lambda word: _SPANISH.get(word[0].lower(), word[0]), line["text"])
        for line in lines
    ]
    return faithful(field, lines) if field != "translation" else _entries(field, lines, texts)
