"""Which image decoders are installed: a file that is unreadable with one set may be readable with another."""

from collections.abc import Sequence
from importlib import metadata

# All decoders that Pillow and pydicom can use, including those that this project does not require.
PACKAGES = ("pillow", "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm",
            "pyjpegls")  # fmt: skip


def installed(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return package → version for the installed ones of these decoders, without importing them."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
