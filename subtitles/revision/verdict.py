"""Verdicts: what becomes of a proposal, and for which reason one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why a proposal is refused. The names are stable: clients count by them."""

    NO_ANSWER = "no_answer"
    """The model did not answer, or not to the end."""
    NOT_IN_FORM = "not_in_form"
    """The answer is not in the form that was asked for."""
    IDS_DIFFER = "ids_differ"
    """Ids are missing, doubled or made up: lines were merged, dropped or invented, and no line of the answer is believed."""
    ECHO_DIFFERS = "echo_differs"
    """What is repeated as the line's original is not its text: the proposal is for another line."""
    SHIFTED = "shifted"
    """The texts fit other lines than those that they are given for."""
    COPIES_NEIGHBOUR = "copies_neighbour"
    """It says what a line close by says."""
    EMPTY = "empty"
    MARKUP = "markup"
    """Control characters, time lines, tags that the line did not have."""
    SPEAKERS_DIFFER = "speakers_differ"
    """A line of two people has no longer one part for each."""
    LANGUAGE = "language"
    """It is in another script or language than it has to be."""
    WORDS_LOST = "words_lost"
    WORDS_INVENTED = "words_invented"
    UNLIKE = "unlike"
    """A word is replaced by one that it cannot have been meant for."""
    NUMBER_CHANGED = "number_changed"
    EDITS_TOO_MUCH = "edits_too_much"
    """More of the line is changed than a correction ever has to."""
    COMMAND = "command"
    """A command that cannot be carried out as it is written."""
    UNTRANSLATED = "untranslated"
    LENGTH = "length"
    """It is absurdly longer or shorter than what it translates."""
    TOO_LONG = "too_long"
    """The line itself is longer than any subtitle's, and no model was asked about it."""
    OVER_BUDGET = "over_budget"
    """It is longer than can be read in the time; the shortest one is taken in the end."""
    GLOSSARY = "glossary"
    """A term of the glossary is not translated as it says; the proposal is taken in the end."""
    GAVE_UP = "gave_up"
    """Not asked: the answers before were of no use."""


SOFT = frozenset({Refusal.OVER_BUDGET, Refusal.GLOSSARY})
"""Reasons to ask again for a better proposal that are none to throw away the best one there is."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one line: a text that is accepted, or a reason."""

    text: str
    """The text that is proposed."""
    refusal: Refusal | None = None

    @property
    def accepted(self) -> bool:
        """Whether the line takes the text."""
        return self.refusal is None
