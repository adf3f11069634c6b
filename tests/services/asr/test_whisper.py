"""How windows are shared out among searches that run side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.options import Decode
from services.asr.whisper import WhisperPlace, _shared_out, encode, load_whisper
from tests.services.asr.fakes import noise


@given(st.integers(1, 40), st.integers(1, 4))
def test_windows_are_shared_out_evenly_and_in_order(count: int, shares: int) -> None:
    """All windows, in their order, in runs of which none is empty nor more than one longer than another."""
    windows = [np.full(1, number, np.float32) for number in range(count)]
    runs = _shared_out(windows, shares)
    assert [float(window[0]) for run in runs for window in run] == list(range(count))
    sizes = [len(run) for run in runs]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == min(count, shares)


@pytest.mark.parametrize(
    ("device", "threads", "searches"), [("cpu", 1, 1), ("cpu", 2, 2), ("cpu", 16, 4), ("cuda", 16, 1)]
)
def test_searches_are_as_many_as_threads_up_to_four(device: str, threads: int, searches: int) -> None:
    """On a card one search has all of it; on processors each has a thread, or more where there are many."""
    assert WhisperPlace("any", Path("/any"), device, threads=threads).searches == searches


@pytest.mark.slow
@pytest.mark.usefixtures("base_model")
def test_what_is_heard_does_not_depend_on_the_others(base_model: Path, media: Path) -> None:
    """A window says the same whether it is heard alone or with others side by side; noise between them changes nothing."""
    from faster_whisper import decode_audio

    kennedy = decode_audio(str(media / "asr/jfk.flac"))
    wizard = decode_audio(str(media / "asr/librispeech_61-70968-0000.flac"))
    whisper = load_whisper(WhisperPlace("base", base_model, threads=2))
    decode = Decode(beam_size=1, temperatures=(0.0,))
    together = whisper.hear([kennedy, noise(3.0), wizard], "en", decode)
    alone = [whisper.hear([window], "en", decode)[0] for window in (kennedy, wizard)]
    assert [together[0].text, together[2].text] == [heard.text for heard in alone]
    assert "fellow Americans" in alone[0].text


@pytest.mark.slow
@pytest.mark.usefixtures("base_model")
def test_windows_are_encoded_as_they_would_be_at_once(base_model: Path) -> None:
    """One by one, so that attention is held for one window, a processor gives the very numbers of all at once."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(base_model), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )
    windows = [model.feature_extractor(noise(10.0, level))[..., :1000] for level in (0.3, 0.1)]
    at_once = np.array(model.encode(np.stack(windows)))
    assert np.array_equal(np.array(encode(model, windows)), at_once)
    assert np.array_equal(np.array(encode(model, windows[:1])), at_once[:1])
