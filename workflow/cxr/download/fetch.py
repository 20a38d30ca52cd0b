"""Fetches one file over HTTP, resuming where an earlier attempt, or an earlier process, ended.

Received bytes are in `<name>.part`; `<name>.part.json` beside it records their address, validator (ETag or Last-Modified)
and total size, so that bytes of two different files are never joined. Only http and https are used, and a server that was
asked by https cannot redirect to an address without it.
"""

import errno
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from cxr.errors import InputError
from cxr.runtime import disk, locks
from cxr.runtime.journal import Journal
from cxr.runtime.replacing import replacing

CHUNK = 1 << 16
LARGEST = 10_000_000_000  # bytes of a file of unknown size; the largest of the release has 4.2 GB
LONGEST_WAIT = 60.0  # s between two attempts
TRY_AGAIN = (408, 425, 429)  # and all 5xx: busy, not wrong
WEB_PAGES = ("text/html", "application/xhtml+xml")
BY_HAND = "correct the address in the table (download.table), or put the file into the data folder by hand"


@dataclass(frozen=True)
class Partial:
    """The file that the received bytes are part of; total in bytes, None if the server does not say."""

    url: str
    validator: str
    total: int | None


class Dropped(Exception):
    """An attempt ended early, and another may go on; wait: seconds the server asks for."""

    def __init__(self, why: str, wait: float | None = None):
        super().__init__(why)
        self.wait = wait


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, nor to anything but these two."""

    def __init__(self, name: str):
        self.name = name

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()  # or its body would be read to the end, however long it is
        safe = req.type == "https"
        if urllib.parse.urlsplit(newurl).scheme not in (("https",) if safe else ("https", "http")):
            raise InputError(
                f"{self.name}: {req.full_url}: the server redirects to {newurl}, which is not "
                f"{'https, so the file could be changed in transit' if safe else 'http or https'}; nothing was downloaded "
                f"from there; {BY_HAND}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(name: str) -> urllib.request.OpenerDirector:
    """Return an opener of http and https addresses alone for the file `name`, through the user's proxies."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(name),
    ):
        opener.add_handler(handler)
    return opener


class Meter:
    """Logs bytes, rate and time left at most every `interval` seconds; the rate is that of this call's own bytes."""

    def __init__(self, tell: Journal, name: str, interval: float):
        self.tell, self.name, self.interval = tell, name, interval
        self.began = self.last = time.monotonic()
        self.fetched = 0

    def __call__(self, chunk: int, have: int, total: int | None) -> None:
        self.fetched += chunk
        now = time.monotonic()
        if now - self.last < self.interval:
            return
        self.last = now
        rate = self.fetched / max(now - self.began, 1e-9)
        whole = f" of {total / 1e6:.0f} MB, {rate / 1e6:.1f} MB/s, {(total - have) / max(rate, 1):.0f} s left"
        self.tell(f"{self.name}: {have / 1e6:.0f}{whole if total else f' MB, {rate / 1e6:.1f} MB/s'}")

    def summary(self, have: int) -> str:
        seconds = time.monotonic() - self.began
        return f"{have} bytes, {self.fetched} of them in this run in {seconds:.0f} s"


@dataclass(frozen=True)
class Patience:
    """How long a fetch goes on. attempts: attempts in a row without any new bytes before it gives up; between them it waits
    `pause` seconds, twice as long each time, at most a minute, or as long as the server asks for. timeout: seconds without
    any byte. interval: seconds between two progress lines."""

    attempts: int
    pause: float = 2.0
    timeout: float = 60.0
    interval: float = 30.0


def fetch(url: str, path: Path, *, size: int | None, patience: Patience, tell: Journal, room_after: int = 0) -> None:
    """Fetch the file at url to path, resuming what an earlier call left behind.

    size: the file's published size in bytes, None if none is published. room_after: bytes that must be free beyond the
    file itself.

    Raises InputError if the server refuses, sends a web page or a file of another size, or cannot be reached; if the
    disk is full; or if another process is fetching this file. What has arrived is kept for the next call.
    """
    part = path.with_name(path.name + ".part")
    with _alone(part) as file:
        transfer = Transfer(
            url,
            path.name,
            part,
            file,
            size,
            patience.timeout,
            room_after,
            Meter(tell, path.name, patience.interval),
            tell,
        )
        failures, most = 0, transfer.have()
        if most:
            tell(f"{path.name}: {most} bytes are here from an earlier attempt")
        while True:
            try:
                transfer.attempt()
                break
            except Dropped as problem:
                have = transfer.have()
                failures = 1 if have > most else failures + 1
                most = max(most, have)
                if failures >= patience.attempts:
                    raise InputError(
                        f"{path.name}: {url}: {problem}; gave up after {failures} attempts without new bytes. "
                        f"The {have} bytes received so far are kept in {part}: run again to continue"
                    ) from None
                wait = min(patience.pause * 2 ** (failures - 1) if problem.wait is None else problem.wait, LONGEST_WAIT)
                tell(f"{path.name}: {problem}; {have} bytes are kept, next attempt in {wait:.0f} s")
                time.sleep(wait)
        tell(f"{path.name}: {transfer.meter.summary(transfer.have())}")
        os.fsync(file.fileno())
        os.replace(part, path)
        _note(part).unlink(missing_ok=True)


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """Open the partial file for this process alone; a killed process leaves no lock behind."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(locks.cautiously(part, os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as file:
        if not locks.take(file):
            raise InputError(f"{part}: another process is downloading this file; wait for it to end")
        yield file


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


@dataclass(frozen=True)
class Transfer:
    """A file being fetched: `file` is its partial file, open and unbuffered; the other fields are those of `fetch` and
    of its patience."""

    url: str
    name: str
    part: Path
    file: IO[bytes]
    size: int | None
    timeout: float
    room_after: int
    meter: Meter
    tell: Journal

    def have(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def attempt(self) -> None:
        """Ask once for what is missing and append it; return when the file is whole, raise Dropped otherwise."""
        before = self._known()
        if before is not None and before.total == self.have():
            return
        response = self._ask(before)
        if response is None:
            return
        with response:
            total = self._accept(response, before)
            expected = total if total is not None else self.size
            if expected is not None:
                needed = expected - self.have() + self.room_after
                disk.require(self.part.parent, needed, f"{self.name} ({expected / 1e6:.0f} MB)")
            self._append(response, total, LARGEST if expected is None else expected)
        have = self.have()
        if expected is None and have > LARGEST:
            self._begin_anew()
            raise InputError(
                f"{self.name}: {self.url}: neither the table nor the server states the size of this file, and it has more "
                f"than {LARGEST} bytes; the received part was removed. Add its size to the table (download.table)"
            )
        if expected is not None and have < expected:
            raise Dropped(f"the connection ended after {have} of {expected} bytes")
        if expected is not None and have > expected:
            self._begin_anew()
            raise InputError(
                f"{self.name}: {self.url}: the server sent {have} bytes instead of {expected}: it is another file, or "
                "the server is faulty; the received part was removed. Check the address and the size in the table (download.table)"
            )

    def _known(self) -> Partial | None:
        """Return the file that the bytes here belong to, None if there are none; drop bytes of unknown origin."""
        if not self.have():
            return None
        try:
            before = Partial(**json.loads(_note(self.part).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            before = None
        if before is not None and before.url == self.url and self.have() <= (before.total or self.have()):
            return before
        self.tell(f"{self.name}: starting again: the partial file is from another address, or of unknown origin")
        self._begin_anew()
        return None

    def _ask(self, before: Partial | None) -> http.client.HTTPResponse | None:
        """Send the request; None: the server says that nothing is missing."""
        headers = {"User-Agent": "cxr-transfer", "Accept-Encoding": "identity"}
        if before is not None:
            headers["Range"] = f"bytes={self.have()}-"
        if before is not None and before.validator:
            headers["If-Range"] = before.validator
        try:
            return _opener(self.name).open(urllib.request.Request(self.url, headers=headers), timeout=self.timeout)
        except urllib.error.HTTPError as answer:
            with answer:
                if answer.code == 416 and before is not None:
                    if answer.headers.get("Content-Range") == f"bytes */{self.have()}":
                        if before.total in (None, self.have()):
                            return None
                        self._begin_anew()
                        raise InputError(
                            f"{self.name}: {self.url}: the server announced {before.total} bytes but has sent fewer: "
                            "it is faulty, or the file has changed; the received part was removed. Run again to download "
                            "the file again"
                        ) from None
                    self._begin_anew()
                    raise Dropped("the server has no more bytes than are here: starting again", 0) from None
                if answer.code in TRY_AGAIN or answer.code >= 500:
                    waits = _retry_after(answer.headers)
                    raise Dropped(f"the server answers {answer.code} {answer.reason}", waits) from None
                raise InputError(
                    f"{self.name}: {self.url}: the server answers {answer.code} {answer.reason}: the address has "
                    f"changed or is no longer public; {BY_HAND}"
                ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(f"no connection ({getattr(error, 'reason', None) or error})") from None

    def _accept(self, response: http.client.HTTPResponse, before: Partial | None) -> int | None:
        """Check the head of an answer, make the partial file ready for its body, and return the total size in bytes."""
        headers, have = response.headers, self.have()
        if headers.get_content_type() in WEB_PAGES:
            raise InputError(
                f"{self.name}: {self.url}: the server sends a web page ({headers.get_content_type()}) instead of the "
                f"file itself; nothing was kept. Open the address in a browser to see what it says; {BY_HAND}"
            )
        validator = _validator(headers)
        if response.status == 206 and before is not None:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
            total = before.total if span is None or span[2] == "*" else int(span[2])
            changed = bool(validator and before.validator and validator != before.validator)
            if span is None or int(span[1]) != have or total != before.total or changed:
                self._begin_anew()
                raise Dropped("the file at the address is not that of the earlier attempt: starting again", 0)
            return total
        if response.status != 200:
            raise Dropped(f"the server answers {response.status} {response.reason}", _retry_after(headers))
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if self.size is not None and total is not None and total != self.size:
            raise InputError(
                f"{self.name}: {self.url}: the server announces {total} bytes instead of {self.size}: it is not the "
                f"file of the release; nothing was kept; {BY_HAND}"
            )
        if before is not None:
            same = validator and validator == before.validator
            why = "cannot be resumed" if same or not before.validator else "has changed since the earlier attempt"
            self.tell(f"{self.name}: starting again, {have} bytes are dropped: the file at the address {why}")
        self._begin_anew()
        with replacing(_note(self.part)) as file:
            json.dump(asdict(Partial(self.url, validator, total)), file)
        return total

    def _append(self, response: http.client.HTTPResponse, total: int | None, most: int) -> None:
        """Write what the server sends; stop once it exceeds `most` bytes in all, since the file is then a wrong one."""
        have = self.have()
        while have <= most:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise Dropped(f"the connection broke ({error})") from None
            if not chunk:
                return
            self._write(chunk)
            have += len(chunk)
            self.meter(len(chunk), have, total)

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"{self.part}: the disk is full; the {self.have()} bytes received so far are kept. Make room, and "
                "run again to continue"
            ) from None

    def _begin_anew(self) -> None:
        self.file.truncate(0)
        self.file.seek(0)


def _validator(headers: Message) -> str:
    """Return a validator for If-Range: a strong ETag, else the time of the last change, else ""."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _retry_after(headers: Message) -> float | None:
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdigit() else None
