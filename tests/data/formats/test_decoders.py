"""The decoders that are installed, told without importing them."""

import json
import subprocess
import sys
from importlib import metadata

from cxr.data.formats import decoders


def test_versions_are_those_of_the_packages_and_what_is_missing_is_left_out(monkeypatch):
    known = {"pillow": "13.0.0", "pydicom": "3.0.2", "python-gdcm": "3.3.1"}

    def version(package):
        if package not in known:
            raise metadata.PackageNotFoundError(package)
        return known[package]

    monkeypatch.setattr(decoders.metadata, "version", version)
    assert decoders.installed() == known
    del known["python-gdcm"]
    assert decoders.installed() == {"pillow": "13.0.0", "pydicom": "3.0.2"}


def test_every_decoder_of_the_lock_is_told(repository):
    lock = (repository / "requirements.lock").read_text()
    locked = {package: metadata.version(package) for package in decoders.PACKAGES if f"\n{package}==" in lock}
    assert len(locked) == 5 and locked.items() <= decoders.installed().items()


def test_no_decoder_is_imported(repository):
    """The workflow asks each time that it is read."""
    lines = (
        "import json, sys",
        "from cxr.data.formats import decoders",
        "decoders.installed()",
        "print(json.dumps(sorted(sys.modules)))",
    )
    asked = [sys.executable, "-c", "\n".join(lines)]
    found = subprocess.run(asked, cwd=repository / "workflow", capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "pydicom", "libjpeg", "openjpeg"} & set(json.loads(found.stdout))
