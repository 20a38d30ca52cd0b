"""Which decoders of image files are installed: what could not be read with one set may be readable with another."""

from collections.abc import Sequence
from importlib import metadata

# All that Pillow and pydicom decode with, also those that this project does not ask for.
PACKAGES = ("pillow", "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm",
            "pyjpegls")  # fmt: skip


def installed(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return package → version of those of these decoders that are installed; none of them is imported."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
