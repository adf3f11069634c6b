"""Laws of the way from sound to segments, with a recogniser whose words follow from the samples."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from services.asr.checkpoints import Progressed, from_checkpoint, to_checkpoint
from services.asr.faults import FaultCode, SpeechFault
from services.asr.options import Decode, Options
from services.asr.transcript import Coverage, Decoding, Heard, Segment, Word
from services.asr.transcription import transcribe
from tests.services.asr.fakes import ToneRecognizer, noise, sound_of

EVERYTHING = Options(vad_filter=False, language="en")


def heard_of(recognizer: ToneRecognizer, *args: object) -> list[Heard]:
    return list(transcribe(recognizer, *args))  # type: ignore[arg-type]


def test_a_recording_without_samples_has_no_words(tmp_path: Path) -> None:
    """0 samples and 1 sample are recordings in which nothing is said."""
    for count in (0, 1):
        sound = sound_of(tmp_path, np.zeros(count, np.float32))
        assert not [s for heard in heard_of(ToneRecognizer(), sound, Options()) for s in heard.segments]


def test_silence_is_not_heard_at_all(tmp_path: Path) -> None:
    """An engine that would say something on anything is never asked about silence."""
    recognizer = ToneRecognizer()
    heard_of(recognizer, sound_of(tmp_path, np.zeros(40 * 16_000, np.float32)), Options())
    assert recognizer.batches == []


def test_first_batches_are_small_and_no_batch_mixes_languages(tmp_path: Path) -> None:
    """Watchers see the first words soon; a batch has one language."""
    recognizer = ToneRecognizer()
    heard_of(recognizer, sound_of(tmp_path, noise(28 * 17)), EVERYTHING)
    assert [size for _, size, _ in recognizer.batches[:4]] == [1, 2, 4, 8]


def test_an_attempt_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    """What two attempts hear together is all of the recording once: no word is missing at the seam, none is said twice."""
    sound = sound_of(tmp_path, noise(120))
    whole = heard_of(ToneRecognizer(), sound, EVERYTHING)
    first = whole[:2]
    rest = heard_of(ToneRecognizer(), sound, EVERYTHING, {0: first[-1].until})
    joined = [segment for heard in (*first, *rest) for segment in heard.segments]
    assert joined[0].start < 0.1 and joined[-1].end > 119
    words = [word for segment in joined for word in segment.words]
    gaps = [after.start - before.end for before, after in pairwise(words)]
    assert min(gaps) >= -1e-6 and max(gaps) < 0.7


def test_channels_are_heard_apart(tmp_path: Path) -> None:
    """Each channel is heard by itself and its segments carry it."""
    both = np.stack([noise(10), noise(10)], 1).reshape(-1)
    heard = heard_of(ToneRecognizer(), sound_of(tmp_path, both, 2), EVERYTHING)
    assert {s.speaker for each in heard for s in each.segments} == {"CHANNEL_0", "CHANNEL_1"}


def test_only_clips_are_heard(tmp_path: Path) -> None:
    """No word lies outside of the clips; clips behind the end are refused."""
    sound = sound_of(tmp_path, noise(60))
    options = Options(vad_filter=False, language="en", clips=((5.0, 8.0), (20.0, 22.0)))
    spans = [(s.start, s.end) for each in heard_of(ToneRecognizer(), sound, options) for s in each.segments]
    assert spans and all((5 <= a < b <= 8.01) or (20 <= a < b <= 22.01) for a, b in spans)
    with pytest.raises(SpeechFault) as caught:
        heard_of(ToneRecognizer(), sound, Options(clips=((70.0, 80.0),)))
    assert caught.value.code is FaultCode.RANGE_OUTSIDE_MEDIA


def test_what_says_of_itself_that_it_is_silence_is_dropped(tmp_path: Path) -> None:
    """An unsure text on no speech is not believed, and counted."""
    recognizer = ToneRecognizer(Decoding(avg_logprob=-1.5, no_speech_prob=0.9))
    heard = heard_of(recognizer, sound_of(tmp_path, noise(10)), EVERYTHING)
    assert not any(each.segments for each in heard) and sum(each.dropped for each in heard) == 20


def test_context_goes_from_window_to_window(tmp_path: Path) -> None:
    """With condition_on_previous_text windows are heard one by one, each told what was said."""
    recognizer = ToneRecognizer()
    options = Options(vad_filter=False, language="en", decode=Decode(condition_on_previous_text=True))
    heard_of(recognizer, sound_of(tmp_path, noise(80)), options)
    assert all(size == 1 for _, size, _ in recognizer.batches)
    assert recognizer.batches[0][2] == "" and "w1 " in recognizer.batches[1][2]


def test_what_a_model_cannot_do_is_refused(tmp_path: Path) -> None:
    """Unknown languages, and translation that would be useless, fail before anything is heard."""
    sound = sound_of(tmp_path, noise(1))
    small = ToneRecognizer(languages=frozenset({"en", "zh"}))
    small.model = "faster-whisper-base"
    for recognizer, options, code in (
        (ToneRecognizer(), Options(language="fr"), FaultCode.LANGUAGE_UNSUPPORTED),
        (small, Options(language="zh", decode=Decode(task="translate")), FaultCode.TRANSLATION_UNSUPPORTED),
    ):
        with pytest.raises(SpeechFault) as caught:
            heard_of(recognizer, sound, options)
        assert caught.value.code is code


def progressed_of(words: int) -> Progressed:
    generator = np.random.default_rng(3)
    vocabulary = [
        "".join(chr(97 + c) for c in generator.integers(0, 26, generator.integers(2, 9))) for _ in range(3000)
    ]
    made, clock = [], 0.0
    for _ in range(words // 12):
        said = []
        for number in generator.zipf(1.3, 12) % 3000:
            length = round(float(generator.uniform(0.1, 0.6)), 2)
            said.append(Word(round(clock, 2), round(clock + length, 2), f" {vocabulary[number]}", 0.93))
            clock += length + 0.05
        text = "".join(word.text for word in said).strip()
        made.append(
            Segment(said[0].start, said[-1].end, text, tuple(said), "en", Decoding(-0.25, 0.01, 1.6, 0.0))
        )
    return Progressed(made, {0: clock}, Coverage(clock, clock, ((1.0, 2.5),)), 3)


def test_a_checkpoint_gives_back_what_it_was_made_of() -> None:
    """Segments, words, times to 10 ms, positions and figures survive; another recording's checkpoint is not taken."""
    progressed = progressed_of(240)
    saved = to_checkpoint(progressed, "this")
    assert saved is not None
    again = from_checkpoint(saved, "this")
    assert again == progressed
    assert from_checkpoint(saved, "other") == Progressed() == from_checkpoint({"version": 1}, "this")


@pytest.mark.slow
def test_half_an_hour_fits_a_checkpoint_and_more_is_not_forced_in() -> None:
    """Half an hour of speech fits 64 KiB; what does not fit is left out, not cut."""
    assert to_checkpoint(progressed_of(4_500), "this") is not None
    assert to_checkpoint(progressed_of(60_000), "this") is None
