"""Downloading against a real server on this machine: one that drops, lies, refuses, changes its mind, or behaves."""

import contextlib
import csv
import dataclasses
import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cxr.download import acquire as acquisition
from cxr.download import fetch as download
from cxr.download import release, unpack, verify
from cxr.download.release import ReleaseFile
from cxr.errors import InputError

CONTENT = bytes(number * 7 % 251 for number in range(300_000))
OTHER = bytes(number * 11 % 241 for number in range(300_000))


@dataclass
class Served:
    """What the server does with one path; lists are used up one entry a request."""

    content: bytes = CONTENT
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    kind: str = "application/octet-stream"
    announced: int | None = None  # Content-Length, where it lies
    unsaid: bool = False  # no Content-Length: the end of the connection is the end of the file
    location: str = ""
    chunk_pause: float = 0.0
    statuses: list[int] = field(default_factory=list)  # answered instead, in turn
    drops: list[int] = field(default_factory=list)  # bytes of the body after which the connection is closed


@dataclass
class Request:
    path: str
    range: str
    if_range: str
    status: int = 0
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        request = Request(self.path, self.headers.get("Range", ""), self.headers.get("If-Range", ""))
        self.server.requests.append(request)
        served = self.server.paths.get(self.path)
        status = 404 if served is None else served.statuses.pop(0) if served.statuses else 0
        if status or served.location:
            request.status = status or 302
            self.send_response(request.status)
            if not status:
                self.send_header("Location", served.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, validator = 0, served.etag or served.modified
        fits = not request.if_range or request.if_range == validator
        if served.ranges and request.range and fits:
            start = int(request.range.removeprefix("bytes=").rstrip("-"))
        body, total = served.content[start:], len(served.content)
        request.status = 416 if start and not body else 206 if start else 200
        self.send_response(request.status)
        if request.status == 416:
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if served.etag:
            self.send_header("ETag", served.etag)
        if served.modified:
            self.send_header("Last-Modified", served.modified)
        self.send_header("Content-Type", served.kind)
        if not served.unsaid:
            self.send_header("Content-Length", str(served.announced - start if served.announced else len(body)))
        self.end_headers()
        end = served.drops.pop(0) if served.drops else len(body)
        for place in range(0, end, 10_000):
            chunk = body[place : min(place + 10_000, end)]
            try:
                self.wfile.write(chunk)
            except OSError:
                return
            request.sent += len(chunk)
            time.sleep(served.chunk_pause)
        if end < len(body) or served.announced or served.unsaid:
            self.close_connection = True

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(tls=None):
    """A server on this machine; tls: certificate and key in one file, for https."""
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.daemon_threads = True
    serving.paths, serving.requests = {}, []
    serving.url = f"{'https' if tls else 'http'}://127.0.0.1:{serving.server_port}"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as plain:
        yield plain


@pytest.fixture
def safe_server(server, tmp_path_factory, monkeypatch):
    """A server that speaks https, with a certificate that this test trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    pem = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", pem, "-out", f"{pem}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_bytes(pem.read_bytes() + Path(f"{pem}.crt").read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", f"{pem}.crt")
    with serving(pem) as safe:
        yield safe


@pytest.fixture
def said():
    """A journal that keeps its lines."""

    class Lines(list):
        def __call__(self, text):
            self.extend(text.splitlines())

        def __contains__(self, words):
            return any(words in line for line in self)

    return Lines()


@pytest.fixture
def fetch(server, said, tmp_path):
    def run(path="/file.bin", size=None, attempts=4, interval=30.0, **more):
        patience = download.Patience(attempts, pause=0.01, timeout=5.0, interval=interval)
        download.fetch(server.url + path, tmp_path / "file.bin", size=size, patience=patience, tell=said, **more)
        return (tmp_path / "file.bin").read_bytes()

    return run


# ---- one file over HTTP


def test_a_plain_download_leaves_the_file_alone(server, fetch, tmp_path):
    server.paths["/file.bin"] = Served()
    assert fetch(size=len(CONTENT)) == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]
    assert len(server.requests) == 1 and server.requests[0].range == ""


def test_dropped_connections_are_resumed_where_they_broke(server, fetch, said):
    server.paths["/file.bin"] = Served(drops=[100_000, 50_000])
    assert fetch(size=len(CONTENT)) == CONTENT
    assert [request.range for request in server.requests] == ["", "bytes=100000-", "bytes=150000-"]
    assert [request.if_range for request in server.requests] == ["", '"one"', '"one"']
    assert sum(request.sent for request in server.requests) == len(CONTENT)
    assert "the connection ended after 100000 of 300000 bytes" in said


def test_a_weak_etag_gives_way_to_the_time_of_the_last_change(server, fetch):
    date = "Tue, 24 Nov 2020 10:00:00 GMT"
    server.paths["/file.bin"] = Served(etag='W/"weak"', modified=date, drops=[100_000])
    server.paths["/file.bin"].etag = ""  # the server compares If-Range with the date
    assert fetch() == CONTENT
    assert server.requests[1].if_range == date
    headers = {"ETag": 'W/"weak"', "Last-Modified": date}
    assert download._validator(headers) == date


def test_redirects_keep_the_range(server, fetch):
    server.paths["/file.bin"] = Served(location=f"{server.url}/elsewhere")
    server.paths["/elsewhere"] = Served(drops=[200_000])
    assert fetch() == CONTENT
    assert [(request.path, request.range) for request in server.requests] == [
        ("/file.bin", ""),
        ("/elsewhere", ""),
        ("/file.bin", "bytes=200000-"),
        ("/elsewhere", "bytes=200000-"),
    ]


def test_a_server_asked_by_https_cannot_lead_to_an_address_without_it(server, safe_server, fetch, said, tmp_path):
    server.paths["/open"] = Served(content=OTHER)
    server.paths["/back"] = Served(location=f"{safe_server.url}/safe")
    safe_server.paths["/safe"] = Served()
    safe_server.paths["/file.bin"] = Served(location=f"{safe_server.url}/safe")
    safe_server.paths["/leads.out"] = Served(location=f"{server.url}/open")
    download.fetch(
        f"{safe_server.url}/file.bin", tmp_path / "file.bin", size=None, patience=download.Patience(1), tell=said
    )
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert fetch("/back") == CONTENT  # from http to https is well
    with pytest.raises(InputError, match=rf"the server redirects to {server.url}/open, which is not https.*by hand"):
        download.fetch(
            f"{safe_server.url}/leads.out", tmp_path / "other", size=None, patience=download.Patience(1), tell=said
        )
    assert [request.path for request in server.requests] == ["/back"]
    assert not (tmp_path / "other").exists()


def test_no_server_leads_to_another_protocol(server, fetch, tmp_path):
    (tmp_path / "secret").write_text("of this machine")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        for location in (f"ftp://127.0.0.1:{listening.getsockname()[1]}/a", f"file://{tmp_path}/secret", "data:,hello"):
            server.paths["/file.bin"] = Served(location=location)
            with pytest.raises(InputError, match=r"redirects to ftp:.*not http or https|is not allowed"):
                fetch(attempts=1)
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert not (tmp_path / "file.bin").exists()


def test_a_stream_that_does_not_end_is_cut_off(server, fetch, tmp_path, monkeypatch):
    """By the size in the table, and where it has none, by a size that no file of the release has."""
    written = []
    plain = download.Transfer._write
    monkeypatch.setattr(
        download.Transfer, "_write", lambda self, chunk: written.append(len(chunk)) or plain(self, chunk)
    )
    server.paths["/file.bin"] = Served(content=CONTENT * 4, unsaid=True)
    with pytest.raises(InputError, match="instead of 1000: it is another file"):
        fetch(size=1000)
    assert 1000 < sum(written) <= 1000 + download.CHUNK
    assert fetch() == CONTENT * 4
    monkeypatch.setattr(download, "LARGEST", 500_000, raising=False)
    written.clear()
    with pytest.raises(InputError, match=r"has more than 500000 bytes.*Add its size to the table"):
        fetch()
    assert 500_000 < sum(written) <= 500_000 + download.CHUNK
    assert (tmp_path / "file.bin.part").stat().st_size == 0


def test_a_server_without_ranges_is_begun_anew(server, fetch, said):
    server.paths["/file.bin"] = Served(ranges=False, drops=[100_000])
    assert fetch() == CONTENT
    assert [(request.range, request.status) for request in server.requests] == [("", 200), ("bytes=100000-", 200)]
    assert "starting again, 100000 bytes are dropped: the file at the address cannot be resumed" in said


def test_a_file_that_changed_between_two_attempts_is_never_joined(server, fetch, said):
    served = server.paths["/file.bin"] = Served(drops=[100_000])
    with pytest.raises(InputError, match="gave up after 1 attempts"):
        fetch(attempts=1)
    served.content, served.etag = OTHER, '"two"'
    assert fetch() == OTHER
    assert server.requests[-1].status == 200
    assert "has changed since the earlier attempt" in said


def test_a_changed_file_behind_a_server_that_ignores_if_range_is_never_joined(server, fetch, said, monkeypatch):
    served = server.paths["/file.bin"] = Served(drops=[100_000])
    with pytest.raises(InputError):
        fetch(attempts=1)
    served.content, served.etag = OTHER, '"two"'
    plain = Handler.do_GET

    def deaf(handler):
        del handler.headers["If-Range"]
        plain(handler)

    monkeypatch.setattr(Handler, "do_GET", deaf)
    assert fetch() == OTHER
    assert [request.status for request in server.requests] == [200, 206, 200]
    assert "is not that of the earlier attempt" in said


def test_a_partial_file_of_another_address_or_unknown_origin_is_dropped(server, fetch, tmp_path, said):
    server.paths["/file.bin"] = Served()
    (tmp_path / "file.bin.part").write_bytes(b"who knows")
    assert fetch() == CONTENT
    for note in ('{"url": "http://elsewhere/", "validator": "", "total": 300000}', "no json", '{"url": 1}'):
        (tmp_path / "file.bin.part").write_bytes(OTHER[:1000])
        (tmp_path / "file.bin.part.json").write_text(note)
        assert fetch() == CONTENT
    assert {request.range for request in server.requests} == {""}


def test_busy_servers_are_asked_again_and_missing_files_are_not(server, fetch, said):
    server.paths["/file.bin"] = Served(statuses=[503, 429, 500])
    assert fetch() == CONTENT
    assert len(server.requests) == 4 and "the server answers 503" in said
    with pytest.raises(InputError, match=r"/missing: the server answers 404 .*download\.table"):
        fetch("/missing")
    assert len(server.requests) == 5
    server.paths["/file.bin"] = Served(statuses=[503] * 9)
    with pytest.raises(InputError, match=r"503.*gave up after 4 attempts"):
        fetch()
    assert len(server.requests) == 9


def test_an_unreachable_server_is_given_up_with_the_address(fetch, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server.url = f"http://127.0.0.1:{port}"
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}/file\.bin: no connection .*gave up after 2 attempts"):
        fetch(attempts=2)


def test_an_announced_size_that_is_too_large_is_found_out(server, fetch, tmp_path):
    server.paths["/file.bin"] = Served(announced=len(CONTENT) + 500)
    with pytest.raises(InputError, match="announces 300500 bytes instead of 300000"):
        fetch(size=len(CONTENT))
    assert server.requests[-1].sent in range(len(CONTENT) + 1) and not (tmp_path / "file.bin").exists()
    with pytest.raises(InputError, match="the server announced 300500 bytes but has sent fewer"):
        fetch()
    assert not (tmp_path / "file.bin").exists()


def test_an_announced_size_that_is_too_small_is_found_out(server, fetch, tmp_path):
    server.paths["/file.bin"] = Served(announced=len(CONTENT) - 500)
    with pytest.raises(InputError, match="announces 299500 bytes instead of 300000"):
        fetch(size=len(CONTENT))
    assert not (tmp_path / "file.bin").exists()


def test_a_web_page_instead_of_the_file_is_refused_and_keeps_what_was_good(server, fetch, tmp_path):
    served = server.paths["/file.bin"] = Served(drops=[100_000])
    with pytest.raises(InputError):
        fetch(attempts=1)
    served.kind, served.ranges = "text/html; charset=utf-8", False
    with pytest.raises(InputError, match=r"sends a web page \(text/html\).*by hand"):
        fetch()
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:100_000]
    served.kind, served.ranges = "application/gzip", True
    assert fetch() == CONTENT


def test_a_finished_partial_file_needs_no_further_byte(server, fetch, tmp_path):
    server.paths["/file.bin"] = Served()
    note = {"url": f"{server.url}/file.bin", "validator": '"one"', "total": len(CONTENT)}
    for total in (len(CONTENT), None):  # known whole; or the server says so (416)
        (tmp_path / "file.bin.part").write_bytes(CONTENT)
        (tmp_path / "file.bin.part.json").write_text(json.dumps(note | {"total": total}))
        assert fetch() == CONTENT
    assert [request.status for request in server.requests] == [416]


def test_two_processes_do_not_fetch_one_file_at_once(server, fetch, tmp_path):
    server.paths["/file.bin"] = Served()
    refused = pytest.raises(InputError, match="another process is downloading this file")
    with download._alone(tmp_path / "file.bin.part"), refused:
        fetch()
    assert fetch() == CONTENT


def test_progress_tells_bytes_rate_and_time_left(server, fetch, said):
    server.paths["/file.bin"] = Served(chunk_pause=0.003)
    fetch(interval=0.02)
    told = [line for line in said if "MB/s" in line]
    assert len(told) >= 2 and all(" of 0 MB, " in line and "s left" in line for line in told)


def test_a_disk_without_room_is_refused_before_the_first_byte(server, fetch, tmp_path):
    server.paths["/file.bin"] = Served()
    with pytest.raises(InputError, match=r"needs .* GB, but this disk has .* GB free; make room"):
        fetch(room_after=10**18)
    assert not (tmp_path / "file.bin").exists()


def test_a_disk_that_fills_up_keeps_what_has_arrived(server, said, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        server.paths["/file.bin"] = Served()
        with pytest.raises(InputError, match=r"MB\) needs .* GB free"):
            download.fetch(
                f"{server.url}/file.bin", small / "file.bin", size=None, patience=download.Patience(2), tell=said
            )
        head = server.paths["/file.bin"].content
        partial = small / "file.bin.part"
        partial.unlink(missing_ok=True)
        with partial.open("w+b", buffering=0) as file:
            transfer = download.Transfer("", "file.bin", partial, file, None, 1.0, 0, None, said)
            with pytest.raises(InputError, match=r"disk is full; the \d+ bytes received so far are kept"):
                transfer._write(head)
            kept = transfer.have()
        assert 100_000 < kept <= 200 * 1024 and partial.read_bytes() == head[:kept]
    finally:
        subprocess.run(["umount", small], check=True)


KILLED = """
import sys
from pathlib import Path
from cxr.download import fetch as download
download.fetch(sys.argv[1], Path(sys.argv[2]), size=None, patience=download.Patience(2), tell=print)
"""


def test_after_kill_9_only_the_rest_is_transferred(server, fetch, repository, tmp_path):
    served = server.paths["/file.bin"] = Served(content=CONTENT * 10, chunk_pause=0.01)
    environment = os.environ | {"PYTHONPATH": str(repository / "workflow")}
    command = [sys.executable, "-c", KILLED, f"{server.url}/file.bin", str(tmp_path / "file.bin")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    part = tmp_path / "file.bin.part"
    deadline = time.monotonic() + 20
    while (not part.exists() or part.stat().st_size < 500_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = part.stat().st_size
    assert 500_000 <= kept < len(served.content)
    served.chunk_pause = 0.0
    assert fetch() == served.content
    first, second = server.requests
    assert (first.range, second.range) == ("", f"bytes={kept}-")
    assert second.sent == len(served.content) - kept


# ---- is it the right file


def entry(server, name, content, **changes):
    """Serve content under a name, and return its row of the address table."""
    server.paths[f"/{name}"] = Served(content=content)
    facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return ReleaseFile(**{"name": name, "url": f"{server.url}/{name}", **facts, **changes})


@pytest.fixture
def acquire(tmp_path, said):
    def run(file, keep=False):
        root = tmp_path / "root"
        return acquisition.acquire(
            file, root, store=root / "downloaded", keep_archive=keep, attempts=2, tell=said
        )  # fmt: skip

    return run


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_table_lands_in_the_data_folder(server, acquire, tmp_path, said):
    acquire(entry(server, "test_list.txt", b"00000001_000.png\n"))
    root = tmp_path / "root"
    assert (root / "test_list.txt").read_bytes() == b"00000001_000.png\n"
    assert files_below(root) == ["downloaded/test_list.txt.json", "test_list.txt"]  # and no record of a known checksum
    assert "SHA-256 as published" in said


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"sha256": "", "md5": "f" * 32}])
def test_a_wrong_checksum_sets_the_file_aside(server, acquire, tmp_path, wrong):
    file = entry(server, "test_list.txt", b"another file\n", **wrong)
    with pytest.raises(InputError) as caught:
        acquire(file)
    message = str(caught.value)
    for words in (file.url, "expected:", wrong.get("md5") or wrong["sha256"], "(published)", "set aside as", ".bad"):
        assert words in message
    root = tmp_path / "root"
    assert (root / "downloaded/test_list.txt.bad").read_bytes() == b"another file\n"
    assert not (root / "test_list.txt").exists() and not (root / "downloads.csv").exists()
    acquire(entry(server, "test_list.txt", b"the file\n"))
    assert (root / "test_list.txt").read_bytes() == b"the file\n"
    assert not (root / "downloaded/test_list.txt.bad").exists()


def test_without_a_published_checksum_the_first_download_counts(server, acquire, tmp_path, said):
    file = entry(server, "test_list.txt", b"first\n", size=None, sha256="")
    acquire(file)
    assert "no checksum is published; this first download is the reference from now on" in said
    with (tmp_path / "root/downloads.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert (row["name"], row["bytes"], row["sha256"]) == ("test_list.txt", "6", hashlib.sha256(b"first\n").hexdigest())
    (tmp_path / "root/test_list.txt").unlink()
    acquire(file)
    assert "no checksum is published; the same file as on" in said
    (tmp_path / "root/test_list.txt").unlink()
    server.paths["/test_list.txt"].content = b"other\n"
    with pytest.raises(InputError, match=r"seen on \d{4}-.*delete the row of test_list\.txt in .*downloads\.csv"):
        acquire(file)
    assert not (tmp_path / "root/test_list.txt").exists()


def test_that_a_file_has_no_strong_checksum_is_said_each_time(server, acquire, tmp_path, said):
    """And its SHA-256 is recorded: two files of one MD5 can be made."""
    content = tarred(**IMAGES)
    weak = entry(server, "images_001.tar.gz", content, sha256="", md5=hashlib.md5(content).hexdigest())
    root = tmp_path / "root"
    for words in ("this first download is the reference from now on", "the same file as on", "the same file as on"):
        said.clear()
        acquire(weak, keep=True)
        (line,) = [line for line in said if "no SHA-256 is published, and an MD5 does not detect a forged file" in line]
        assert words in line and "MD5 as published" in said
        shutil.rmtree(root / "images_001")
    forged = tarred(**IMAGES, **{"images/00000001_002.png": b"three"})
    (root / "downloaded/images_001.tar.gz").write_bytes(forged)
    with pytest.raises(InputError, match=r"SHA-256 .* expected: .* \(seen on "):
        acquire(dataclasses.replace(weak, size=None, md5=hashlib.md5(forged).hexdigest()))
    said.clear()
    acquire(entry(server, "test_list.txt", b"00000001_000.png\n"))
    assert "SHA-256 as published" in said and "no SHA-256" not in said


def test_many_processes_may_record_at_once(tmp_path, said):
    """One waits for the other: while the record is held elsewhere, nothing is written over it."""
    (tmp_path / "file").write_bytes(CONTENT)
    ledger = tmp_path / "downloads.csv"
    threads = [
        threading.Thread(target=verify.verify, args=(tmp_path / "file", ReleaseFile(f"f{number}"), ledger, said))
        for number in range(8)
    ]
    with ledger.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        assert all(thread.is_alive() for thread in threads) and not ledger.read_bytes()
    for thread in threads:
        thread.join(timeout=20)
    with ledger.open(newline="") as table:
        assert sorted(row["name"] for row in csv.DictReader(table)) == sorted(f"f{number}" for number in range(8))


def test_a_file_without_an_address_says_where_to_fetch_it(acquire, tmp_path):
    with pytest.raises(InputError, match=rf"test_list\.txt: .*by hand from {release.PAGE} and put it into .*root"):
        acquire(ReleaseFile("test_list.txt"))


# ---- archives


def tarred(**members):
    """A tar.gz of names → content, or → TarInfo for anything but a file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            item = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            item.name = name
            if isinstance(content, bytes):
                item.size, item.mtime = len(content), 1_500_000_000
            tar.addfile(item, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def special(kind, target=""):
    item = tarfile.TarInfo()
    item.type, item.linkname = kind, target
    return item


def holes():
    """A member of no bytes that becomes a file of a terabyte."""
    item = special(tarfile.REGTYPE)
    item.pax_headers = {"GNU.sparse.size": str(10**12), "GNU.sparse.map": "0,0"}
    return item


IMAGES = {"images/00000001_000.png": b"one", "images/00000001_001.png": b"two"}


def test_an_archive_is_fetched_unpacked_and_removed(server, acquire, tmp_path, said):
    folder = special(tarfile.DIRTYPE)
    file = entry(server, "images_001.tar.gz", tarred(**{"images": folder}, **IMAGES))
    acquire(file)
    root = tmp_path / "root"
    assert files_below(root) == [
        "downloaded/images_001.tar.gz.json",
        "images_001/images/00000001_000.png",
        "images_001/images/00000001_001.png",
    ]
    assert (root / "images_001/images/00000001_001.png").read_bytes() == b"two"
    assert (root / "images_001/images/00000001_001.png").stat().st_mtime == 1_500_000_000
    acquire(file)  # done already: neither fetched nor unpacked again
    assert len(server.requests) == 1 and "already unpacked (images_001)" in said


def test_an_archive_stays_where_that_is_asked(server, acquire, tmp_path):
    acquire(entry(server, "images_001.tar.gz", tarred(**IMAGES)), keep=True)
    assert (tmp_path / "root/downloaded/images_001.tar.gz").exists()


def test_after_a_kill_while_unpacking_nothing_is_fetched_again(server, acquire, tmp_path, monkeypatch):
    file = entry(server, "images_001.tar.gz", tarred(**IMAGES))
    plain, calls = unpack._wanted, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(unpack, "_wanted", killed)
    monkeypatch.setattr(unpack.shutil, "rmtree", lambda *_, **__: None)  # what a kill leaves behind
    with pytest.raises(KeyboardInterrupt):
        acquire(file)
    root = tmp_path / "root"
    assert (root / ".images_001.unpacking/images/00000001_000.png").exists() and not (root / "images_001").exists()
    monkeypatch.undo()
    acquire(file)
    assert len(files_below(root / "images_001")) == 2 and not (root / ".images_001.unpacking").exists()
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", ["", "data/images", "images"])
def test_archives_of_a_user_are_unpacked_and_left(acquire, tmp_path, end, said):
    folder = tmp_path / "root" / end
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "images_001.zip", "w") as archive:
        archive.writestr("images/", "")
        for name, content in IMAGES.items():
            archive.writestr(name, content)
    acquire(ReleaseFile("images_001.tar.gz", url="http://127.0.0.1:1/never-asked"))
    assert "images_001.zip: no checksum is published for an archive of this name" in said
    assert files_below(tmp_path / "root/images_001") == sorted(IMAGES)
    assert (folder / "images_001.zip").exists()


def test_a_damaged_archive_of_a_user_is_named_and_left(acquire, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    whole = tarred(**IMAGES)
    (root / "images_001.tar.gz").write_bytes(whole[:-20])
    file = ReleaseFile("images_001.tar.gz", size=len(whole))
    with pytest.raises(InputError, match=r"images_001\.tar\.gz: not the expected file.*remove it"):
        acquire(file)
    with pytest.raises(InputError, match=r"damaged.*nothing was unpacked"):
        acquire(ReleaseFile("images_001.tar.gz"))
    assert (root / "images_001.tar.gz").exists() and not (root / "images_001").exists()


def test_images_side_by_side_are_not_downloaded_a_second_time(acquire, tmp_path):
    (tmp_path / "root/images").mkdir(parents=True)
    (tmp_path / "root/images/00000001_000.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"not in folders images_001.*can be used as they are"):
        acquire(ReleaseFile("images_001.tar.gz", url="http://127.0.0.1:1/never-asked"))


def test_a_table_that_is_here_stays(acquire, tmp_path, said):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/Data_Entry_2017.csv").write_bytes(b"Kaggle's")
    acquire(ReleaseFile("Data_Entry_2017_v2020.csv", url="http://127.0.0.1:1/never-asked", sha256="0" * 64))
    assert (tmp_path / "root/Data_Entry_2017.csv").read_bytes() == b"Kaggle's"
    assert "already here (Data_Entry_2017.csv, not byte for byte the published one), left unchanged" in said


EVIL = {
    "parent": ({"../evil.png": b"x"}, "leads out"),
    "hidden parent": ({"images/../../evil.png": b"x"}, "leads out"),
    "absolute": ({"/nowhere_cxr/evil.png": b"x"}, "leads out"),
    "symbolic link": ({"images/link.png": special(tarfile.SYMTYPE, "/etc/passwd")}, "a symbolic link"),
    "link to folder": ({"images": special(tarfile.SYMTYPE, ".."), "images/evil.png": b"x"}, "a symbolic link"),
    "hard link": ({"images/link.png": special(tarfile.LNKTYPE, "images/00000001_000.png")}, "a link"),
    "device": ({"images/device.png": special(tarfile.CHRTYPE)}, "a device"),
    "fifo": ({"images/fifo.png": special(tarfile.FIFOTYPE)}, "a device or special"),
    "file as folder": ({"images/00000001_000.png/evil.png": b"x"}, "both a file and a folder"),
    "file as folder far below": ({"images/00000001_000.png/a/evil.png": b"x"}, "both a file and a folder"),
    "folder as file": ({"images": b"x"}, "both a file and a folder"),
    "twice": ({"./images/00000001_000.png": b"x"}, "a duplicate"),
    "holes": ({"images/holes.png": holes()}, "a file with holes"),
}


@pytest.mark.parametrize("name", EVIL)
def test_nothing_of_an_evil_archive_is_unpacked(tmp_path, said, name):
    members, words = EVIL[name]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/images_001.tar.gz").write_bytes(tarred(**IMAGES, **members))
    with pytest.raises(InputError, match=words) as caught:
        unpack.unpack(tmp_path / "in/images_001.tar.gz", tmp_path / "in/images_001", said)
    assert next(reversed(members)) in str(caught.value) or next(iter(members)) in str(caught.value)
    assert files_below(tmp_path) == ["in/images_001.tar.gz"]
    assert not os.path.exists("/nowhere_cxr/evil.png")


def test_nothing_of_an_evil_zip_is_unpacked(tmp_path, said):
    link = zipfile.ZipInfo("images/link.png")
    link.external_attr = 0o120777 << 16
    for number, (item, words) in enumerate(
        [("../evil.png", "leads out"), ("/evil.png", "leads out"), (link, "a link")]
    ):
        archive = tmp_path / f"images_{number:03d}.zip"
        with zipfile.ZipFile(archive, "w") as whole:
            whole.writestr("images/00000001_000.png", b"one")
            whole.writestr(item, b"/etc/passwd")
        with pytest.raises(InputError, match=words):
            unpack.unpack(archive, tmp_path / archive.stem, said)
        archive.unlink()
    assert files_below(tmp_path) == []


def described(name, **attributes):
    """An empty member with pax attributes."""
    item = tarfile.TarInfo(name)
    item.pax_headers = attributes
    return item


def long_name(name, size):
    """A member whose name is of so many bytes in the way of GNU tar."""
    item = tarfile.TarInfo(name)
    item.name = name + "a" * size
    return item.tobuf(tarfile.GNU_FORMAT)


LIMITS = {
    "a header of 8 MB": lambda: tarred(**{"a.png": described("a.png", comment="x" * (8 << 20))}),
    "a name of 8 MB": lambda: gzip.compress(long_name("a", 8 << 20)),
    "a first header for all of 8 MB": lambda: gzip.compress(
        tarfile.TarInfo.create_pax_global_header({"comment": "x" * (8 << 20)}) + tarfile.TarInfo("a.png").tobuf()
    ),
    "headers of 18 MB together": lambda: tarred(
        **{f"{number}.png": described("a.png", comment="x" * 900_000) for number in range(20)}
    ),
    "headers for all of 18 MB together": lambda: gzip.compress(
        b"".join(
            tarfile.TarInfo.create_pax_global_header({f"c{number}": "x" * 900_000})
            + tarfile.TarInfo(f"{number}.png").tobuf()
            for number in range(20)
        )
    ),
    "a bomb": lambda: tarred(**{"a.png": bytes(2_000_000)}),
    "many small bombs": lambda: tarred(**{f"{number}.png": bytes(90_000) for number in range(20)}),
    "a bomb behind the end": lambda: gzip.compress(gzip.decompress(tarred(**IMAGES)) + bytes(2_000_000)),
    "a zip bomb": lambda: zipped({"a.png": bytes(2_000_000)}),
    "a zip of many names": lambda: zipped({f"{number:0200d}.png": b"" for number in range(40)}, comment=b"c" * 4000),
    "a zip of LZMA": lambda: zipped({"a.png": b"x"}, zipfile.ZIP_LZMA),
    "a long name": lambda: tarred(**{f"{'a/' * 140}a.png": b"x"}),
    "a long name in a zip": lambda: zipped({f"{'a/' * 140}a.png": b"x"}),
}
REASONS = {
    "header": "names and attributes have more than",
    "a name of": "names and attributes have more than",
    "bomb": "it unpacks to more than",
    "many names": "table of contents has more than 10000 bytes",
    "LZMA": "another method than deflate",
    "long name": "a name of more than 255 bytes",
}


def zipped(members, method=zipfile.ZIP_DEFLATED, comment=b""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as whole:
        for name, content in members.items():
            whole.writestr(name, content)
        whole.comment = comment
    return buffer.getvalue()


@pytest.mark.parametrize("name", LIMITS)
def test_an_archive_that_would_take_memory_or_disk_without_end_is_refused(tmp_path, said, name, monkeypatch):
    """With smaller allowances where the real ones would take long to pass."""
    if "bomb" in name:
        monkeypatch.setattr(unpack, "ALLOWANCE", 1_000_000, raising=False)
    if "many names" in name:
        monkeypatch.setattr(unpack, "HEADERS", 10_000, raising=False)
    archive = tmp_path / ("images_001.zip" if "zip" in name else "images_001.tar.gz")
    archive.write_bytes(LIMITS[name]())
    words = next(words for key, words in REASONS.items() if key in name)
    with pytest.raises(InputError, match=words):
        unpack.unpack(archive, tmp_path / "out", said)
    assert files_below(tmp_path) == [archive.name] and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["images_001.tar.gz", "images_001.zip"])
def test_an_archive_of_too_many_members_is_refused(tmp_path, said, name, monkeypatch):
    members = {f"images/{number}/": b"" for number in range(6)} | {"images/a.png": b"x"}
    folders = {name: special(tarfile.DIRTYPE) if name.endswith("/") else content for name, content in members.items()}
    (tmp_path / name).write_bytes(zipped(members) if name.endswith("zip") else tarred(**folders))
    monkeypatch.setattr(unpack, "MEMBERS", 7, raising=False)
    assert unpack.unpack(tmp_path / name, tmp_path / "seven", said) == 1
    monkeypatch.setattr(unpack, "MEMBERS", 6)
    with pytest.raises(InputError, match="more than 6 members"):
        unpack.unpack(tmp_path / name, tmp_path / "six", said)
    assert not (tmp_path / "six").exists()


def test_an_archive_larger_than_the_releases_own_is_measured_by_that(acquire, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "ALLOWANCE", 1000, raising=False)
    root = tmp_path / "root"
    root.mkdir()
    noise = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(200))  # 6400 bytes, not compressible
    (root / "images_001.zip").write_bytes(zipped({"images/00000001_000.png": noise}))
    with pytest.raises(InputError, match="it unpacks to more than 5000 bytes"):
        acquire(ReleaseFile("images_001.tar.gz", size=2000))
    acquire(ReleaseFile("images_001.tar.gz", size=3000))
    assert (root / "images_001/images/00000001_000.png").read_bytes() == noise


def test_the_release_is_far_within_the_limits(repository):
    files = [file for file in release.read(repository / "config/release.csv").values() if file.is_archive]
    assert unpack.MEMBERS > 112_120 and max(file.size for file in files) < download.LARGEST / 2
    header = 2 * tarfile.BLOCKSIZE  # GNU tar's pax attributes of an image
    assert 11_000 * header < unpack.HEADERS  # of the largest archive
    assert 112_120 * (46 + 36 + len("images/00000001_000.png")) < unpack.HEADERS  # of all images in one zip


@pytest.mark.parametrize(
    "name",
    ["time.tar.gz", "short.tar.gz", "text.tar.gz", "empty.tar.gz", "bits.zip", "text.zip", "gz.tar.gz", "end.tar.gz"],
)
def test_a_damaged_archive_leaves_nothing(tmp_path, said, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as whole:
        whole.writestr("images/00000001_000.png", b"one of many bytes")
    contents = {
        "time.tar.gz": tarred(**{"a.png": described("a.png", mtime="1e30")}),
        "short.tar.gz": tarred(**IMAGES)[:-9],
        "text.tar.gz": b"<html>not found</html>",
        "text.zip": b"<html>not found</html>",
        "empty.tar.gz": tarred(),
        "gz.tar.gz": gzip.compress(b"no tar"),
        "end.tar.gz": gzip.compress(gzip.decompress(tarred(**IMAGES)) + bytes(100_000))[:-8] + bytes(8),
        "bits.zip": buffer.getvalue().replace(b"one of many", b"two of many"),
    }
    (tmp_path / name).write_bytes(contents[name])
    with pytest.raises(unpack.DamagedArchive, match=name):
        unpack.unpack(tmp_path / name, tmp_path / "out", said)
    assert files_below(tmp_path) == [name] and not (tmp_path / "out").exists()


# ---- the address table


def test_the_table_of_the_release_is_whole(repository):
    files = release.read(repository / "config/release.csv")
    assert list(files)[:12] == [f"images_{number:03d}.tar.gz" for number in range(1, 13)]
    assert list(files)[12:] == [
        "Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "train_val_list.txt", "test_list.txt"
    ]  # fmt: skip
    archives = [file for file in files.values() if file.is_archive]
    assert all(file.md5 and file.url.startswith("https://nihcc.box.com/shared/static/") for file in archives)
    assert len({file.url for file in files.values()}) == len({file.md5 or file.sha256 for file in files.values()}) == 16
    assert sum(file.size for file in archives) == 45_079_862_784  # 42 GiB, as the release says


def test_the_published_checksums_are_those_of_real_tables(repository, nih_sample):
    """The sample's label table differs from NIH's own in one word of the header, its lists in the last line's end."""
    files = release.read(repository / "config/release.csv")
    changes = {
        "Data_Entry_2017_v2020.csv": lambda content: content.replace(b"Patient Gender", b"Patient Sex", 1),
        "BBox_List_2017.csv": lambda content: content,
        "train_val_list.txt": lambda content: content.removesuffix(b"\n"),
        "test_list.txt": lambda content: content.removesuffix(b"\n"),
    }
    for name, change in changes.items():
        content = change((nih_sample / name).read_bytes())
        assert (len(content), hashlib.sha256(content).hexdigest()) == (files[name].size, files[name].sha256), name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,url\na,b\n", "exactly the columns"),
        ("name,url,bytes,sha256,md5\n../a,,,,\n", r"row 2: name = '\.\./a': expected a file name without folders"),
        ("name,url,bytes,sha256,md5\na,file:///etc/passwd,,,\n", "begins with http"),
        ("name,url,bytes,sha256,md5\na,,many,,\n", "whole number"),
        ("name,url,bytes,sha256,md5\na,,,12,\n", "64 hex digits"),
        ("name,url,bytes,sha256,md5\na,,,,\na,,,,\n", "row 3: 'a' is named twice"),
        ("name,url,bytes,sha256,md5\n", "no row"),
    ],
)
def test_a_bad_table_of_addresses_names_the_row(tmp_path, text, words):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        release.read(tmp_path / "table.csv")
    with pytest.raises(InputError, match=r"missing\.csv"):
        release.read(tmp_path / "missing.csv")


# ---- the target


def snakemake(repository, folder, *arguments, config=()):
    command = [sys.executable, "-m", "snakemake", "--snakefile", repository / "Snakefile", "--directory", folder]
    command += ["--cores", "2", "--configfile", repository / "tests/tiny.yaml"]
    command += ["--config", "name=real", *config, "--", *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=repository, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_target_downloads_once_and_nothing_else_ever_does(server, repository, tmp_path):
    archive = tarred(**IMAGES)
    files = [
        entry(server, "images_001.tar.gz", archive, sha256="", md5=hashlib.md5(archive).hexdigest()),
        entry(server, "test_list.txt", b"00000001_000.png\n", sha256=""),
    ]
    with (tmp_path / "table.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["name", "url", "bytes", "sha256", "md5"])
        rows.writerows([file.name, file.url, file.size, file.sha256, file.md5] for file in files)
    data = tmp_path / "data"
    lists = "train_val_list: train_val_list.txt, test_list: test_list.txt"
    config = [f"data={{source: nih, root: {data}, {lists}}}", f"download={{table: {tmp_path}/table.csv}}"]

    code, output = snakemake(repository, tmp_path, "all", config=config)
    assert code != 0 and "Missing input files" in output and not server.requests and not data.exists()

    code, output = snakemake(repository, tmp_path, "download", config=config)
    assert code == 0, output[-3000:]
    assert files_below(data / "images_001") == sorted(IMAGES) and (data / "test_list.txt").exists()
    assert len(server.requests) == 2
    assert "MD5 as published" in output and "no checksum is published" in output
    code, output = snakemake(repository, tmp_path, "download", config=config)
    assert code == 0 and "Nothing to be done" in output and len(server.requests) == 2, output[-3000:]


def test_phantoms_are_not_downloaded(repository, tmp_path):
    code, output = snakemake(repository, tmp_path, "download")
    assert code != 0 and "data.source is phantoms" in output and "Traceback" not in output
