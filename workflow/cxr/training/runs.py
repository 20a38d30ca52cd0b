"""One training run: its identity, device, saved state, and recorded facts."""

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch

from cxr.errors import InputError
from cxr.runtime import gpus, seals
from cxr.runtime.jobs import RESULTS, Job
from cxr.runtime.journal import Journal
from cxr.runtime.outputs import whole
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device, choose

# Inputs that only locate pixels (the split files' digests identify them), or that follow from other inputs.
PLACES = ("index", "features")
FORGOTTEN = ("state", "store")  # params that are paths of the run itself


@dataclass
class Run:
    """A run in progress. identity: key, seed, code, and SHA-256 of each input; its facts hold these and the device."""

    seed: int
    device: Device
    keeper: Keeper
    tell: Journal
    threads: int = 1
    identity: Mapping[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    def facts(self) -> dict[str, Any]:
        """Return the facts that every run records: identity, host, device, precision, peak memory, start, versions."""
        return {
            **self.identity,
            "seed": self.seed,
            "started": datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds"),
            "job_seconds": round(time.time() - self.began, 2),
            "interruptions": self.keeper.resumed,
            "host": platform.node(),
            **self.device.facts(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        }


@contextmanager
def started(
    *,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    threads: int,
    environment: MutableMapping[str, str],
    tell: Journal,
) -> Iterator[Run]:
    """Claim a device and load the state of an earlier attempt; on leaving without an error, the state is removed.

    params: what the rule passes, with `common` (seed, precision), `code`, and `state` (path). inputs: name → file or
    files. environment: CXR_GPU_SLOTS (jobs a GPU), CXR_CHECKPOINT (seconds between states) and CXR_RESULTS (folder of the
    results) are read, CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are set. Raises seals.Damaged for a damaged input.
    """
    began = time.time()
    identity = identify(params, inputs, Path(environment[RESULTS]))
    with gpus.claimed(environment, int(environment["CXR_GPU_SLOTS"]), tell) as gpu:
        keeper = Keeper(Path(params["state"]), identity["key"], float(environment["CXR_CHECKPOINT"]), tell)
        device = choose(params["common"]["precision"], threads)
        if gpu is not None and device.torch.type == "cpu":
            tell(f"GPU {gpu.id} was given, but this PyTorch finds no CUDA device: training on the CPU")
        if gpu is None and device.torch.type == "cuda":
            raise InputError(
                "PyTorch sees a GPU although CUDA is hidden from this job (CUDA_VISIBLE_DEVICES is empty), and jobs must "
                "not share one unknowingly; to use it, name it: CUDA_VISIBLE_DEVICES=0"
            )
        run = Run(params["common"]["seed"], device, keeper, tell, threads, identity, began)
        yield run
        keeper.clear()


@contextmanager
def of_job(job: Job, name: str, environment: MutableMapping[str, str]) -> Iterator[tuple[Run, dict[str, Path]]]:
    """Open a job's journal, start its run (``started``), and yield name → path to write each output to (``outputs.whole``)."""
    with (
        Journal(job.log[0], name) as tell,
        started(
            params=dict(job.params.items()),
            inputs=dict(job.input.items()),
            threads=job.threads,
            environment=environment,
            tell=tell,
        ) as run,
        whole(job.output.items()) as out,
    ):
        yield run, out


def identify(params: Mapping[str, Any], inputs: Mapping[str, Any], results: Path) -> dict[str, Any]:
    """Return key, code and input hashes of a run; two runs with equal keys do the same computation on the same data.

    Raises seals.Damaged for an input below `results` that differs from what its job wrote.
    """
    hashes = {
        name: [seals.verified(Path(path), results) for path in ([paths] if isinstance(paths, str) else paths)]
        for name, paths in inputs.items()
    }
    for name in PLACES:
        hashes.pop(name, None)
    settings = {name: value for name, value in params.items() if name not in FORGOTTEN}
    text = json.dumps([settings, hashes], sort_keys=True, default=str)
    return {
        "key": hashlib.sha256(text.encode()).hexdigest()[:16],
        "code": params["code"],
        "inputs": {name: ", ".join(found) for name, found in hashes.items() if found},
    }


def plain(seed: int, device: Device, tell: Journal, keeper: Keeper | None = None) -> Run:
    """Return a run without identity or saved state, for use outside a workflow."""
    return Run(seed, device, keeper or Keeper(None, "", 0, tell), tell)
