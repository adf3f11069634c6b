"""Sound in blocks: lengths, seams, delays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodekit.models import model_store
from services.separate.blocks import Block, of_length, read_blocks, write_blocks
from services.separate.deepfilternet import SAMPLE_RATE, DeepFilterNet
from services.separate.overlap_add import chunk_before, overlap_add
from services.separate.repet import Repet, find_period, to_samples, to_spectrum
from services.separate.stems import part_stems, separate_voices
from tests.services.separate.material import leveled, music, si_sdr_db, speech


def cut(sound: Block, size: int) -> Iterator[Block]:
    for first in range(0, len(sound), size):
        yield sound[first : first + size]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(1, 50), st.integers(10, 60), st.integers(1, 4))
def test_chunks_that_agree_leave_no_seam(length: int, block: int, chunk: int, overlap: int) -> None:
    """Work that changes nothing gives back exactly what came in, however it is cut; no chunk is shorter than the overlap."""
    sound = np.random.default_rng(length).standard_normal((length, 2)).astype(np.float32)
    sizes = []

    def work(part: Block) -> Block:
        sizes.append(len(part))
        return part

    made = list(overlap_add(cut(sound, block), chunk, overlap, work))
    joined = np.concatenate(made) if made else np.zeros((0, 2), np.float32)
    np.testing.assert_allclose(joined, sound, atol=1e-6)
    assert len(sizes) < 2 or min(sizes) >= overlap
    assert max(sizes, default=0) < chunk + overlap


@given(st.integers(1, 400), st.integers(10, 60), st.integers(1, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_chunks_go_on_where_they_were_broken_off(
    length: int, chunk: int, overlap: int, data: st.DataObject
) -> None:
    """Begun again one chunk earlier, what comes behind the break is what would have come, though chunks disagree on their seams."""
    done = data.draw(st.integers(0, length))
    sound = np.random.default_rng(length).standard_normal((length, 1)).astype(np.float32)

    def work(part: Block) -> Block:
        return np.asarray(part * len(part) + part.mean(), np.float32)

    whole = np.concatenate(list(overlap_add(cut(sound, 7), chunk, overlap, work)))
    first = chunk_before(done, chunk, overlap)
    again = np.concatenate([*overlap_add(cut(sound[first:], 7), chunk, overlap, work)])
    assert first <= done
    np.testing.assert_array_equal(again[done - first :], whole[done:])


def test_chunks_that_disagree_are_faded() -> None:
    """Where two chunks say different things the step between them is spread over the overlap: no click."""
    answers = iter(range(100))
    made = np.concatenate(
        list(
            overlap_add(
                cut(np.zeros((5000, 1), np.float32), 700), 1000, 200, lambda part: part + next(answers)
            )
        )
    )
    assert len(made) == 5000
    assert np.abs(np.diff(made[:, 0])).max() <= 1 / 200 + 1e-6


@given(st.integers(0, 50), st.integers(0, 100))
def test_lengths_are_what_is_asked(length: int, wanted: int) -> None:
    """Too much is cut off, too little is filled with silence."""
    sound = np.ones((length, 2), np.float32)
    made = list(of_length(cut(sound, 7), wanted, 2))
    assert sum(map(len, made)) == wanted
    assert sum(float(block.sum()) for block in made) == 2 * min(length, wanted)


@given(st.integers(1, 3000), st.sampled_from([64, 256]))
@settings(max_examples=40, deadline=None)
def test_spectrum_there_and_back(length: int, size: int) -> None:
    """The inverse of the short-time spectrum gives the samples back, all of them."""
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    made = to_samples(to_spectrum(samples, size), size, length)
    np.testing.assert_allclose(made, samples, atol=1e-4)


@pytest.fixture(scope="module")
def deepfilternet() -> DeepFilterNet:
    store = model_store()
    if not store.has("deepfilternet3"):
        pytest.skip("needs `make models names=deepfilternet3`")
    folder = store.folder("deepfilternet3")
    return DeepFilterNet(folder / "libdeepfilter.so", folder / "DeepFilterNet3_onnx.tar.gz", "test")


@pytest.mark.parametrize("length", [0, 1, 479, 480, 1439, 1440, 1441, 5000])
def test_deepfilternet_keeps_the_length(deepfilternet: DeepFilterNet, length: int) -> None:
    """As many samples come out as go in, whatever the number and the blocks."""
    for size in (1, 97, 4096) if length < 500 else (97, 4096):
        made = list(deepfilternet.voices(cut(np.zeros((length, 1), np.float32), size), SAMPLE_RATE))
        assert sum(map(len, made)) == length


def test_deepfilternet_is_in_step(deepfilternet: DeepFilterNet) -> None:
    """Its delay is taken back to the sample: clean speech comes out where it went in; and blocks do not matter."""
    sound = speech(SAMPLE_RATE)[: 4 * SAMPLE_RATE, None]
    made = np.concatenate(list(deepfilternet.voices(cut(sound, 10_007), SAMPLE_RATE)))
    spectrum = np.fft.rfft(made[:, 0], 2 * len(made)) * np.conj(np.fft.rfft(sound[:, 0], 2 * len(made)))
    assert int(np.argmax(np.fft.irfft(spectrum))) == 0
    other = np.concatenate(list(deepfilternet.voices(cut(sound, 4_800), SAMPLE_RATE)))
    np.testing.assert_allclose(made, other, atol=1e-5)


def test_deepfilternet_goes_on(deepfilternet: DeepFilterNet) -> None:
    """Begun again ten seconds earlier, it gives what it would have given: it has no longer memory than that."""
    clean = np.tile(speech(SAMPLE_RATE)[: 7 * SAMPLE_RATE], 2)
    sound = (clean + music(SAMPLE_RATE, len(clean)))[:, None]
    done = 12 * SAMPLE_RATE
    first = deepfilternet.again_from(done, SAMPLE_RATE)
    assert done - first >= 10 * SAMPLE_RATE
    whole, again = (
        np.concatenate(list(deepfilternet.voices(cut(part, 65_536), SAMPLE_RATE)))
        for part in (sound, sound[first:])
    )
    error = again[done - first :] - whole[done:]
    assert 10 * np.log10((error**2).mean() / (whole[done:] ** 2).mean()) < -45


def test_repet_finds_the_period_and_the_voice() -> None:
    """Over a loop of two seconds the period is that or a part or multiple of it, and the voice gains."""
    rate = 16_000
    voice = speech(rate)
    mix = (voice + music(rate, len(voice)))[:, None]
    period = find_period(np.abs(to_spectrum(mix[:, 0], 512)).astype(np.float32), 128 / rate)
    assert period is not None
    beats = period * 128 / rate / 0.25
    assert abs(beats - round(beats)) < 0.06
    made = np.concatenate(list(Repet().voices(cut(mix, 50_000), rate)))
    assert made.shape == mix.shape
    assert si_sdr_db(voice, made[:, 0]) - si_sdr_db(voice, mix[:, 0]) > 3


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_stems_are_the_mix(tmp_path: Path, channels: int) -> None:
    """Voices and rest add up to the mix, sample by sample, on every channel; equal channels are heard once."""
    rate = 8000
    voice = speech(rate)[: 3 * rate]
    sound = np.stack([voice / np.float32(1 + channel // 2) for channel in range(channels)], axis=1)
    write_blocks(tmp_path / "mix", [sound])
    engine = Repet()
    shares = list(separate_voices(engine, tmp_path / "mix", channels, rate, tmp_path / "voices"))
    assert shares[-1] == 1
    figures = part_stems(tmp_path / "mix", tmp_path / "voices", channels, tmp_path / "v", tmp_path / "r")
    voices, rest = (np.concatenate(list(read_blocks(tmp_path / name, channels))) for name in "vr")
    np.testing.assert_allclose(voices + rest, sound, atol=1e-6)
    assert (figures.samples, figures.gain) == (len(sound), 1.0)


def test_voices_go_on_behind_a_dead_process(tmp_path: Path) -> None:
    """What is on disk is kept but for a torn sample, and what is missing is made: the same as without a break."""
    rate = 4000
    sound = np.stack([music(rate, 100 * rate), music(rate, 100 * rate, 1)], axis=1)
    write_blocks(tmp_path / "mix", [sound])
    for _ in separate_voices(Repet(), tmp_path / "mix", 2, rate, tmp_path / "whole"):
        pass
    next(separate_voices(Repet(), tmp_path / "mix", 2, rate, tmp_path / "broken"))
    with (tmp_path / "broken.group0").open("ab") as part:
        part.write(b"abc")
    shares = list(separate_voices(Repet(), tmp_path / "mix", 2, rate, tmp_path / "broken"))
    assert shares[0] > 0.5
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "whole").read_bytes()


def test_hot_stems_are_turned_down_together(tmp_path: Path) -> None:
    """Where a stem would pass full scale both get the same gain: they still add up to the mix, quieter."""
    mix = leveled(np.random.default_rng(0).standard_normal((5000, 2)), 0.3)
    voices = (mix * 4).astype(np.float32)
    write_blocks(tmp_path / "mix", [mix])
    write_blocks(tmp_path / "voices", [voices[:4000]])
    figures = part_stems(tmp_path / "mix", tmp_path / "voices", 2, tmp_path / "v", tmp_path / "r")
    made, rest = (np.concatenate(list(read_blocks(tmp_path / name, 2))) for name in "vr")
    assert figures.gain < 1
    assert max(np.abs(made).max(), np.abs(rest).max()) <= 1.00001
    np.testing.assert_allclose(made + rest, mix * figures.gain, atol=1e-5)
    assert not made[4000:].any()
