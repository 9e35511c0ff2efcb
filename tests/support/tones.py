"""Tones in WAV files: made for one side of a call, looked for in what the other side recorded."""

from __future__ import annotations

import math
import wave
from array import array
from collections.abc import Iterable
from pathlib import Path

RATE_HZ = 8000
WINDOW = 800  # 100 ms, so a bin is 10 Hz wide
QUIET = 200.0  # RMS below which a window is silence, of 32768


def write_tone(path: Path, tone_hz: int, seconds: float, amplitude: int = 9000) -> None:
    """A mono 16-bit WAV holding one sine."""
    samples = array("h", (int(amplitude * math.sin(2 * math.pi * tone_hz * i / RATE_HZ)) for i in range(int(RATE_HZ * seconds))))
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(samples.tobytes())


def read_samples(path: Path) -> array[int]:
    """The samples of a mono 16-bit WAV at 8 kHz; fewer than the header says while it is still being written."""
    with wave.open(str(path), "rb") as source:
        assert (source.getnchannels(), source.getsampwidth(), source.getframerate()) == (1, 2, RATE_HZ)
        samples = array("h")
        samples.frombytes(source.readframes(source.getnframes()))
        return samples


def share_of(samples: Iterable[int], tone_hz: int) -> float:
    """How much of a window's energy is at one frequency, 0..1 (Goertzel)."""
    window = list(samples)
    coefficient = 2 * math.cos(2 * math.pi * tone_hz / RATE_HZ)
    before, last, energy = 0.0, 0.0, 0.0
    for sample in window:
        before, last = last, sample + coefficient * last - before
        energy += sample * sample
    if energy == 0:
        return 0.0
    power = before * before + last * last - coefficient * before * last
    return 2 * power / (len(window) * energy)


def seconds_of(samples: array[int], tone_hz: int) -> float:
    """For how long a tone is what there is to hear: windows that aren't silent and hold it nearly alone."""
    heard = 0
    for start in range(0, len(samples) - WINDOW + 1, WINDOW):
        window = samples[start : start + WINDOW]
        loud = math.sqrt(sum(sample * sample for sample in window) / WINDOW) > QUIET
        heard += loud and share_of(window, tone_hz) > 0.8
    return heard * WINDOW / RATE_HZ
