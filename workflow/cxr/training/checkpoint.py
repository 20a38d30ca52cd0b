"""The state of an unfinished training run: saved periodically, resumed by the next attempt, removed when the run is done."""

import hashlib
import io
import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cxr.errors import Interrupted
from cxr.runtime import locks
from cxr.runtime.journal import Journal
from cxr.runtime.replacing import replacing

SHARE = 0.01  # share of the run's time that saving may take
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # SIGUSR1: clusters send it ahead of the time limit


class Keeper:
    """Keeps the state of one run in one file, which belongs to `key` (a hash of settings, data and code).

    The file is a line of JSON (key, version of PyTorch, SHA-256 of the rest) before what torch.save writes. It is
    replaced as a whole, so a kill at any moment leaves the old or the new one. interval: seconds between saves, more
    where saving would otherwise take over 1% of the time. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None, key: str, interval: float, tell: Journal):
        self.path, self.key, self.interval, self.tell = path, key, interval, tell
        self.last = time.monotonic()
        self.spent = 0.0
        self.asked: int | None = None
        self.resumed = 0  # how often the run was resumed before

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state, or None, with a message, where the file holds no usable state of this run."""
        if self.path is None:
            return None
        try:
            head, content = self._read()
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever is wrong with the file, training can start over
            self.refuse(error)
            return None
        self.resumed = head["resumed"] + 1
        return content

    def refuse(self, error: Exception) -> None:
        """Report that the saved state is not used. error: why; it may come from restoring what `load` returned."""
        self.resumed = 0
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        self.tell(
            f"{self.path}: this training state is not used, and training starts from the beginning: {reason[:300]}"
        )

    def due(self) -> bool:
        """Return whether to save now: after `interval`, less often where saving is slow, at once when asked to stop."""
        if self.asked is not None:
            return True
        return self.path is not None and time.monotonic() - self.last > max(self.interval, self.spent / SHARE)

    def save(self, content: Mapping[str, Any]) -> None:
        """Replace the saved state (tensors, numbers, texts, lists, dictionaries); raise Interrupted if asked to stop.

        A full disk costs the state, not the run: it is reported, and training goes on.
        """
        began = time.monotonic()
        trouble = self._trouble_of_writing(content) if self.path is not None else "there is no file for it"
        self.last = time.monotonic()
        self.spent = self.last - began
        if self.asked is not None:
            name = signal.Signals(self.asked).name
            if trouble:
                raise Interrupted(f"stopped by {name}, and the training state could not be saved ({trouble})")
            raise Interrupted(f"stopped by {name}, the training state is saved; the same command continues from here")
        if trouble and self.path is not None:
            self.tell(f"{self.path}: the training state could not be saved ({trouble}); training goes on")

    def clear(self) -> None:
        """Remove the state once the run's results are written; a run that was asked to stop keeps it."""
        if self.path is None or self.asked is not None:
            return
        try:
            for path in (self._new(), self.path):
                path.unlink(missing_ok=True)
        except OSError as error:  # the results are written all the same
            self.tell(
                f"{self.path}: this training state could not be removed ({error.strerror}); it is no longer needed"
            )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside this context, SIGTERM, SIGINT and SIGUSR1 request a save at the next step instead of ending the process."""

        def ask(number: int, frame: FrameType | None) -> None:
            self.asked = number

        former = {number: signal.signal(number, ask) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _read(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return head and content of the file; raise an exception of any kind if it does not belong to this run."""
        import torch

        with open(self.path, "rb", opener=locks.cautiously) as file:
            line, _, body = file.read().partition(b"\n")
        try:
            head = json.loads(line)
            sound = head["sha256"] == hashlib.sha256(body).hexdigest() and type(head["resumed"]) is int
        except (ValueError, LookupError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise ValueError("it is damaged")
        if head.get("key") != self.key:
            raise ValueError("it belongs to other settings, data or code")
        if head.get("torch") != torch.__version__:
            raise ValueError(f"it was saved by PyTorch {head.get('torch')}, and this is {torch.__version__}")
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError("it is damaged")
        return head, content

    def _trouble_of_writing(self, content: Mapping[str, Any]) -> str:
        """Write the file; return what went wrong, or nothing."""
        try:
            self._write(content)
        except (OSError, MemoryError) as error:
            return getattr(error, "strerror", None) or "no memory is left"
        return ""

    def _write(self, content: Mapping[str, Any]) -> None:
        import torch

        buffer = io.BytesIO()
        torch.save(dict(content), buffer)
        body = buffer.getvalue()
        own = {"key": self.key, "resumed": self.resumed, "torch": torch.__version__}
        head = own | {"sha256": hashlib.sha256(body).hexdigest()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path, binary=True) as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(body)

    def _new(self) -> Path:
        return self.path.with_name(self.path.name + ".new")
