"""Which GPU a training job gets: found without torch, claimed by a file lock that dies with its process.

Locks, not a count of running jobs, because they hold between several runs on one machine and after a kill.
"""

import fcntl
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cxr.errors import InputError
from cxr.journal import Journal

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL = 0.5  # seconds between two looks for a free slot


@dataclass(frozen=True)
class Gpu:
    """A GPU: the name CUDA_VISIBLE_DEVICES takes for it, and one that is its own on this machine."""

    id: str
    key: str


def find(environment: Mapping[str, str]) -> list[Gpu]:
    """Return the GPUs that a process with this environment may use; none where there is no nvidia-smi.

    CUDA_VISIBLE_DEVICES, where it is set, names them (numbers, GPU- or MIG- ids); an empty one or -1 hides all.
    """
    listed = _listed(environment)
    if VISIBLE not in environment:
        return [Gpu(number, key) for number, key in listed.items()]
    names = [name.strip() for name in environment[VISIBLE].split(",")]
    wanted = []
    for name in names:
        if not name or name == "-1":  # CUDA stops reading at the first invalid name
            break
        wanted.append(Gpu(name, listed.get(name, name)))
    return wanted


def _listed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return number → UUID as `nvidia-smi -L` lists them; empty where there is no working nvidia-smi."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False, env=dict(environment)
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"^GPU (\d+): .*\(UUID: ([^)]+)\)", done.stdout, re.M)) if done.returncode == 0 else {}


@contextmanager
def claimed(environment: MutableMapping[str, str], slots: int, tell: Journal) -> Iterator[Gpu | None]:
    """Hold one of a GPU's slots while inside, waiting for it; CUDA_VISIBLE_DEVICES is set to that GPU alone.

    slots: jobs that may share a GPU. Yields None, told in the log, where there is no GPU.
    """
    found = find(environment)
    if not found:
        tell("no GPU found: training on the CPU")
        yield None
        return
    folder = Path(tempfile.gettempdir()) / f"cxr-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    gpu, lock = _wait(found, slots, folder, tell)
    with lock:
        environment[VISIBLE] = gpu.id
        tell(f"GPU {gpu.id} ({gpu.key}), one of {len(found)} with {slots} slots each")
        yield gpu


def _wait(found: list[Gpu], slots: int, folder: Path, tell: Journal) -> tuple[Gpu, IO[str]]:
    told = False
    while True:
        for slot in range(slots):
            for gpu in found:
                lock = _try(folder / f"{gpu.key.replace('/', '_')}-{slot}.lock")
                if lock is not None:
                    return gpu, lock
        if not told:
            tell(f"all {len(found)} GPUs are taken ({slots} slots each): waiting")
            told = True
        time.sleep(POLL)


def _try(path: Path) -> IO[str] | None:
    try:
        file = path.open("w")
    except OSError as error:
        raise InputError(f"{path}: the lock of a GPU cannot be opened ({error.strerror}); remove this file") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
