"""One model on several devices at once, for indexing: a process for each."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import Encoder, MapsPictures, ModelDescription, Pace
from imgsearch.encoders.device import check_device, device_names
from imgsearch.encoders.encoder_process import SEATS, EncoderProcess, ProcessDied
from imgsearch.encoders.indexing import pace_of
from imgsearch.errors import HeatMapUnavailable, ModelError

# A batch on which a process died is tried once more, in case it died of something else.
_ATTEMPTS = 2


def on_devices(load: Callable[[str | None], Encoder], device: str | None) -> Encoder:
    """Return the encoder that `load` gives for one device, or a fleet where there are several.

    `device` is what users give: a name, several with commas, or None for the best there is, which
    is all NVIDIA GPUs together. Raises UsageError, and what `load` raises.
    """
    names = device_names(device)
    for name in names[1:]:
        check_device(name)
    first = load(names[0] if names else device)
    return FleetEncoder(first, names) if len(names) > 1 else first


class FleetEncoder:
    """An encoder with a process on each of several devices, while it is entered (``with``).

    Within the block each call of `encode_images` goes to a process that has time for it; calls come
    from several threads, see `pace`. Texts, and pictures outside of such a block, are embedded on
    the first device in this process: a query must not wait for a fleet.
    """

    def __init__(self, first: Encoder, devices: Sequence[str]) -> None:
        """`first` is the encoder on the first device; `devices` are names as torch has them."""
        self._first = first
        self._devices = [_Device(first.description, name) for name in devices]
        self._idle: queue.SimpleQueue[_Seat] = queue.SimpleQueue()
        # In turn, so that two batches go to two devices.
        for number in range(SEATS):
            for device in self._devices:
                self._idle.put(_Seat(device, number))
        self._entered = 0
        self._lock = threading.Lock()

    @property
    def description(self) -> ModelDescription:
        """The model's identity and input format."""
        return self._first.description

    @property
    def pace(self) -> Pace:
        """So many calls that every device has two, of as many pictures as the largest wants."""
        if not self._entered:
            return pace_of(self._first)
        wishes = [device.pictures for device in self._devices]
        pictures = max(wishes) or pace_of(self._first).pictures
        return Pace(SEATS * len(self._devices), pictures)

    def __enter__(self) -> FleetEncoder:
        with self._lock:
            self._entered += 1
            if self._entered == 1:
                # All at once: each takes seconds to start, and more to load its model.
                for device in self._devices:
                    device.process()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                for device in self._devices:
                    device.close()

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed pixels [n, s, s, 3] to unit rows [n, d].

        A process that dies is replaced, and its batch tried again. Raises ModelError if the next
        dies too, and whatever the encoder itself raises.
        """
        if not self._entered or not len(pixels):
            return self._first.encode_images(pixels)
        causes = []
        for _ in range(_ATTEMPTS):
            seat = self._idle.get()
            try:
                return seat.encode(pixels)
            except ProcessDied as died:
                causes.append(f"{seat.device.name}: {died}")
            finally:
                self._idle.put(seat)
        raise ModelError(
            f"The model {self.description.name!r} cannot be run; its processes died "
            f"({'; '.join(causes)}). What is in the library stays in. Try one device: "
            f"--device {self._devices[0].name}"
        )

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed n texts to unit rows [n, d]; what exceeds the context length is cut off."""
        return self._first.encode_texts(texts)

    @property
    def maps_pictures(self) -> bool:
        """Whether the encoder on the first device can embed the parts of a picture."""
        return isinstance(self._first, MapsPictures) and self._first.maps_pictures

    def encode_patches(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed the cells of a grid over pixels [n, s, s, 3] to unit vectors [n, g, g, d].

        Raises HeatMapUnavailable where `maps_pictures` is false.
        """
        if not isinstance(self._first, MapsPictures):
            raise HeatMapUnavailable("This model cannot show where something is in a picture.")
        return self._first.encode_patches(pixels)


class _Device:
    """A device, and the process that works for it now."""

    def __init__(self, model: ModelDescription, name: str) -> None:
        self.name = name
        self.pictures = 0
        self._model = model
        self._process: EncoderProcess | None = None
        self._lock = threading.Lock()

    def process(self) -> EncoderProcess:
        """Return the process: a new one if there is none, or if it is dead. Raises ModelError."""
        with self._lock:
            if self._process is not None and self._process.dead:
                self._process.close()
                self._process = None
            if self._process is None:
                self._process = EncoderProcess(self._model, self.name)
            return self._process

    def close(self) -> None:
        """Let the process end."""
        with self._lock:
            if self._process is not None:
                self._process.close()
            self._process = None


@dataclass(frozen=True, slots=True)
class _Seat:
    """The right to one of the calls that a device's process takes at once."""

    device: _Device
    number: int

    def encode(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        process = self.device.process()
        rows = process.encode(self.number, pixels)
        self.device.pictures = process.pictures
        return rows
