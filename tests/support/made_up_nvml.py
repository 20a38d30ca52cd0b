"""A machine's GPUs, made up: what NVML would say of them, by the names and errors of the real `pynvml`."""

import json
import os

import pynvml

MACHINE = "MADE_UP_NVML"  # environment variable: the machine as JSON


def board(uuid, instances=None, error=None):
    """A GPU. instances: in MIG mode, (UUID, GPU instance, compute instance) or None by number; error: at a look at it."""
    return {"uuid": uuid, "instances": instances, "error": error}


def install(machine, into=pynvml):
    """Put a list of boards, or the name of the error with which NVML fails, in the place of the real machine's."""

    def fail(name):
        raise getattr(pynvml, name)()

    def initialise():
        if isinstance(machine, str):
            fail(machine)

    def handle(number):
        return fail(machine[number]["error"]) if machine[number]["error"] else machine[number]

    def mig_mode(handle):
        return fail("NVMLError_NotSupported") if handle["instances"] is None else [1, 1]

    def instance(handle, number):
        uuid, *places = handle["instances"][number] or fail("NVMLError_NotFound")
        return {"uuid": uuid, "places": places}

    functions = {
        "nvmlInit": initialise,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(machine),
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetUUID": lambda handle: handle["uuid"],
        "nvmlDeviceGetMigMode": mig_mode,
        "nvmlDeviceGetMaxMigDeviceCount": lambda handle: len(handle["instances"]),
        "nvmlDeviceGetMigDeviceHandleByIndex": instance,
        "nvmlDeviceGetGpuInstanceId": lambda handle: handle["places"][0],
        "nvmlDeviceGetComputeInstanceId": lambda handle: handle["places"][1],
    }
    for name, function in functions.items():
        into.__dict__[name] = function


def environment(machine, folder):
    """What to add to the environment of a process for which the machine is to be the real one; folder: for files."""
    here = os.path.dirname(__file__)
    (folder / "sitecustomize.py").write_text(
        f"import json, os, sys\nsys.path.append({here!r})\n"
        f"import made_up_nvml\nmade_up_nvml.install(json.loads(os.environ[{MACHINE!r}]))\n"
    )
    return {MACHINE: json.dumps(machine), "PYTHONPATH": str(folder)}
