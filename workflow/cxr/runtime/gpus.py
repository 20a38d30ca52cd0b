"""Which GPU a training job gets: found through NVML (without torch), claimed by a file lock that ends with its process.

Locks, unlike a count of running jobs, also work between several runs on one machine and after a kill. They work between
the jobs of one user: the folder of the locks is closed to all others, and two users who share a machine must divide its
GPUs between them (CUDA_VISIBLE_DEVICES). A GPU that is not found here is hidden from PyTorch: no job ever trains on one
that it has not claimed.
"""

import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pynvml

from cxr.errors import InputError
from cxr.runtime import locks
from cxr.runtime.journal import Journal

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
NO_DRIVER = (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)
DRIVER = (Path("/proc/driver/nvidia"), Path("/dev/nvidiactl"), Path("/dev/dxg"))  # one is there where a driver is
POLL = 0.5  # seconds between two searches for a free slot
ELSEWHERE = "set TMPDIR to a folder on a local disk that only this user may write to, the same one in all runs"


@dataclass(frozen=True)
class Gpu:
    """A device that a CUDA process can use: a GPU, or an instance of a GPU in MIG mode.

    id: its name in CUDA_VISIBLE_DEVICES, the UUID wherever NVML answers; its lock has this name. name: for people.
    """

    id: str
    name: str
    old_id: str = ""  # of an instance: MIG-GPU-<UUID>/<GPU instance>/<compute instance>


@dataclass(frozen=True)
class _Board:
    """A GPU of the machine, and what CUDA can use of it: the GPU itself, or in MIG mode its instances, possibly none."""

    uuid: str
    parts: tuple[Gpu, ...]


def find(environment: Mapping[str, str], tell: Callable[[str], None]) -> list[Gpu]:
    """Return the GPUs that a process with this environment may use, MIG instances one by one; report problems.

    CUDA_VISIBLE_DEVICES, if set, names them as in CUDA: numbers, UUIDs of GPUs or MIG instances (or their unique
    beginnings), MIG-GPU-<UUID>/<n>/<n>. As in CUDA, the first name that is not a GPU ends the list (-1, NoDevFiles,
    nothing), and a GPU named twice empties it. Numbers are those of nvidia-smi (by PCI bus), whatever
    CUDA_DEVICE_ORDER says; the number of a GPU in MIG mode means all its instances. If NVML fails, the names are taken
    as they stand, and without names there is no GPU.
    """
    names = None if VISIBLE not in environment else [name.strip() for name in environment[VISIBLE].split(",")]
    try:
        boards = _boards("MIG-GPU-" in environment.get(VISIBLE, ""), tell)
    except pynvml.NVMLError as error:
        trouble = f"NVML, which finds the GPUs, fails ({str(error).rstrip('.')})"
        if isinstance(error, NO_DRIVER) and not any(path.exists() for path in DRIVER):
            pass  # a machine without a GPU
        elif names is None:
            tell(
                f"{trouble}: no GPU is used, and CUDA is hidden from the jobs. Repair the driver (after an update, "
                f"restart the machine), or name the GPUs to use, such as {VISIBLE}=0; each is then claimed under the given "
                "name, which must be the same in all runs"
            )
        elif _as_given(names[0]):
            tell(f"{trouble}: {VISIBLE} is used as it is")
        return [] if names is None else _chosen(names, _as_given, tell)
    if names is None:
        return [gpu for board in boards for gpu in board.parts]
    return _chosen(names, lambda name: _meant(name, boards), tell)


def _boards(old_ids: bool, tell: Callable[[str], None]) -> list[_Board]:
    """List the GPUs that this process may use, by PCI bus. old_ids: whether instances' old names are needed."""
    pynvml.nvmlInit()
    try:
        boards: list[_Board] = []
        for number in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(number)
                uuid = pynvml.nvmlDeviceGetUUID(handle)
            except pynvml.NVMLError_NoPermission:  # a cluster gave it to another job; CUDA does not count it either
                continue
            except pynvml.NVMLError as error:
                tell(f"GPU {number} is left out ({str(error).rstrip('.')})")
                continue
            name = f"GPU {len(boards)}"
            parts = tuple(_instances(handle, uuid, name, old_ids)) if _split(handle) else (Gpu(uuid, name),)
            if not parts:
                tell(f"{name} ({uuid}) is in MIG mode and has no instance, so it is not used")
            boards.append(_Board(uuid, parts))
        return boards
    finally:
        pynvml.nvmlShutdown()


def _split(handle: object) -> bool:
    try:
        return pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    except pynvml.NVMLError:  # most GPUs have no such mode
        return False


def _instances(handle: object, uuid: str, name: str, old_ids: bool) -> Iterator[Gpu]:
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            own = pynvml.nvmlDeviceGetUUID(part)
        except pynvml.NVMLError:  # no instance has this number, or this process may not use it
            continue
        old = ""
        if old_ids:
            at = pynvml.nvmlDeviceGetGpuInstanceId(part), pynvml.nvmlDeviceGetComputeInstanceId(part)
            old = f"MIG-{uuid}/{at[0]}/{at[1]}"
        yield Gpu(own, f"{name}, instance {number}", old)


def _chosen(names: list[str], meant: Callable[[str], tuple[Gpu, ...]], tell: Callable[[str], None]) -> list[Gpu]:
    chosen: list[Gpu] = []
    for name in names:
        more = meant(name)
        if not more:
            if name not in ("", "-1", "NoDevFiles"):  # users and clusters hide what follows with these
                tell(
                    f"{VISIBLE}: '{name}' does not name exactly one usable GPU; this name and those after it are ignored"
                )
            break
        if set(more) & set(chosen):
            tell(f"{VISIBLE}: '{name}' is named twice, so CUDA shows no GPU at all; name each once")
            return []
        chosen += more
    return chosen


def _meant(name: str, boards: list[_Board]) -> tuple[Gpu, ...]:
    """Return what a name in CUDA_VISIBLE_DEVICES stands for; nothing if it is unknown, or the beginning of several."""
    if number := re.match(r"\+?(\d+)", name):
        return boards[int(number[1])].parts if int(number[1]) < len(boards) else ()
    found = [board.parts for board in boards if name.startswith("GPU-") and board.uuid.startswith(name)]
    parts = [part for board in boards for part in board.parts]
    found += [
        (part,) for part in parts if name.startswith("MIG-") and (part.id.startswith(name) or part.old_id == name)
    ]
    return found[0] if len(found) == 1 else ()


def _as_given(name: str) -> tuple[Gpu, ...]:
    if number := re.match(r"\+?0*(\d+)", name):
        return (Gpu(number[1], f"GPU {number[1]}"),)
    return (Gpu(name, "GPU"),) if re.match("(GPU|MIG)-.", name) else ()


@contextmanager
def claimed(environment: MutableMapping[str, str], slots: int, tell: Journal) -> Iterator[Gpu | None]:
    """Wait for a free slot on a GPU and hold it while inside; CUDA_VISIBLE_DEVICES is set to that GPU alone.

    slots: jobs that may share a GPU. Yields None, and logs it, if there is no GPU; CUDA_VISIBLE_DEVICES is then empty.
    Call it before PyTorch first uses CUDA, which reads the environment once.
    """
    found = find(environment, tell)
    if not found:
        environment[VISIBLE] = ""
        tell("no GPU found: training on the CPU")
        yield None
        return
    gpu, lock = _wait(found, slots, tell)
    with lock:
        environment[VISIBLE] = gpu.id
        environment[ORDER] = "PCI_BUS_ID"  # so that a number, where NVML fails, is the same GPU in every job
        tell(f"{gpu.name} ({gpu.id}), one of {len(found)} with {slots} slots each")
        yield gpu


def _wait(found: list[Gpu], slots: int, tell: Journal) -> tuple[Gpu, AbstractContextManager[object]]:
    folder = Path(tempfile.gettempdir()) / f"cxr-gpus-{os.getuid()}"
    told = False
    while True:
        for slot in range(slots):
            for gpu in found:
                lock = _try(folder / f"{gpu.id.replace('/', '_')}-{slot}.lock")
                if lock is not None:
                    return gpu, lock
        if not told:
            tell(f"all {len(found)} GPUs are taken ({slots} slots each): waiting")
            told = True
        time.sleep(POLL)


def _try(path: Path) -> AbstractContextManager[object] | None:
    """Take a lock if it is free; it ends with this process, even if forked children, such as loaders, outlive it."""
    with ExitStack() as stack:
        try:
            _require_private(path.parent)
            file = stack.enter_context(open(path, "ab", buffering=0, opener=locks.cautiously))
            held = locks.attempt(file) and os.fstat(file.fileno()).st_nlink > 0  # a removed file guards nothing
        except InputError as error:
            raise InputError(f"{error}; or {ELSEWHERE}") from None
        except OSError as error:
            raise InputError(
                f"{path}: the lock of a GPU cannot be taken ({error.strerror}); remove this file, or {ELSEWHERE}"
            ) from None
        locks.keep_from_children(file)
        return stack.pop_all() if held else None


def _require_private(folder: Path) -> None:
    """Create the folder of the locks, or check that only this user can take, remove or replace one."""
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise InputError(f"{folder}: the GPU locks need a folder of this name, but this is not a folder; remove it")
    if found.st_uid != os.geteuid():
        raise InputError(
            f"{folder}: the folder of the GPU locks belongs to another user (number {found.st_uid}), who must remove it"
        )
    if found.st_mode & 0o077:
        raise InputError(
            f"{folder}: other users have access to the GPU locks (mode {stat.S_IMODE(found.st_mode):o}); "
            f"chmod 700 {folder}"
        )
