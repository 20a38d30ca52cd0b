"""The state of an unfinished training run: saved now and then, taken up by the next attempt, gone when the run is done."""

import hashlib
import io
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cxr.errors import Interrupted
from cxr.journal import Journal

SHARE = 0.01  # of the run's time that saving may take
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # SIGUSR1: what a cluster sends ahead of its time limit


class Keeper:
    """Keeps the state of one run in one file, which belongs to `key` (a hash of settings, data and code).

    The file is a line of JSON (key, SHA-256 of the rest) before what torch.save writes. It is replaced as a whole,
    so a kill at any moment leaves the former or the new one. interval: seconds between saves; they come less often where
    saving takes more than 1% of the time. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None, key: str, interval: float, tell: Journal):
        self.path, self.key, self.interval, self.tell = path, key, interval, tell
        self.last = time.monotonic()
        self.spent = 0.0
        self.asked: int | None = None
        self.resumed = 0  # how often the run was taken up before

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last, or None where there is nothing of this run that can be read."""
        import torch

        if self.path is None or not self.path.exists():
            return None
        data = self.path.read_bytes()
        line, _, body = data.partition(b"\n")
        try:
            head = json.loads(line)
            sound = {"key", "resumed"} <= head.keys() and head["sha256"] == hashlib.sha256(body).hexdigest()
        except (ValueError, KeyError, TypeError, AttributeError):
            head, sound = {}, False
        if not sound:
            self.tell(f"{self.path}: damaged, not used; training starts from the beginning")
            return None
        if head["key"] != self.key:
            self.tell(f"{self.path}: belongs to other settings, data or code, not used; training starts anew")
            return None
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        self.resumed = head["resumed"] + 1
        return content

    def due(self) -> bool:
        """Say whether to save now: after `interval`, less often where saving is slow, at once when asked to stop."""
        if self.asked is not None:
            return True
        return self.path is not None and time.monotonic() - self.last > max(self.interval, self.spent / SHARE)

    def save(self, content: Mapping[str, Any]) -> None:
        """Replace the state by tensors, numbers, texts, lists and dictionaries; raise Interrupted if asked to stop.

        A disk without room costs the state, not the run: it is told, and training goes on.
        """
        began = time.monotonic()
        if self.path is not None:
            try:
                self._write(content)
            except OSError as error:
                self.tell(f"{self.path}: the training state could not be saved ({error.strerror}); training goes on")
        self.last = time.monotonic()
        self.spent = self.last - began
        if self.asked is not None:
            name = signal.Signals(self.asked).name
            raise Interrupted(f"stopped by {name}, the training state is saved; the same command goes on from here")

    def clear(self) -> None:
        """Remove the state: the run's results are written. One that was asked to stop keeps it, for whoever asked."""
        if self.path is not None and self.asked is None:
            self.path.unlink(missing_ok=True)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, SIGTERM, SIGINT and SIGUSR1 ask for a save at the next step instead of ending the process."""

        def ask(number: int, frame: FrameType | None) -> None:
            self.asked = number

        former = {number: signal.signal(number, ask) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _write(self, content: Mapping[str, Any]) -> None:
        import torch

        buffer = io.BytesIO()
        torch.save(dict(content), buffer)
        body = buffer.getvalue()
        head = {"key": self.key, "resumed": self.resumed, "sha256": hashlib.sha256(body).hexdigest()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        try:
            with new.open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n")
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
