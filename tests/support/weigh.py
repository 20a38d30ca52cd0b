"""Decode files one after the other, and print how each ended and how far memory had risen by then; run as a script."""

import json
import logging
import resource
import sys
import warnings
from pathlib import Path

from cxr.data.formats import decode as formats_decode
from cxr.data.formats import pictures


def risen() -> int:
    """The highest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ended(path: Path, decode) -> str:
    try:
        return f"decoded {decode(path)[0].shape}"
    except formats_decode.UnusableImage as error:
        return error.reason


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # should all fail, the machine is spared
    results, before = {}, risen()
    for name in sys.argv[1:]:
        decode = formats_decode.decode if name.startswith("study:") else pictures.decode
        reason = ended(Path(name.removeprefix("study:")), decode)
        results[name] = [reason, risen() - before]
    print(json.dumps(results))
