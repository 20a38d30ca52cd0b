import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from cxr.errors import InputError
from cxr.runtime import checksums
from cxr.training import weights

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc", FIPS 180-2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_bytes(b"abc")
    return tmp_path / "model.pt"


def test_checksum_of_a_file(file: Path, tmp_path: Path):
    assert checksums.sha256_of(file) == ABC
    large = bytes(range(256)) * 40_000
    (tmp_path / "large").write_bytes(large)
    assert checksums.sha256_of(tmp_path / "large") == hashlib.sha256(large).hexdigest()
    with pytest.raises(InputError, match="absent"):
        checksums.sha256_of(tmp_path / "absent")


@pytest.mark.parametrize("sha256", [ABC, ABC.upper(), ABC[:8], ABC[:20], ""])
def test_the_right_file_passes(file: Path, sha256: str):
    assert weights.verify(file, sha256, "toy weights") == file


@pytest.mark.parametrize("sha256", ["0" * 64, "0" * 8, ABC[:-1] + "0"])
def test_another_file_is_refused_with_both_checksums(file: Path, sha256: str):
    with pytest.raises(InputError) as caught:
        weights.verify(file, sha256, "toy weights")
    for part in ("toy weights", str(file), ABC, sha256):
        assert part in str(caught.value)


@pytest.mark.parametrize("sha256", [ABC[:7], ABC + "0", "sha256:" + ABC, "not hexadecimal"])
def test_what_is_no_checksum_is_refused_rather_than_ignored(file: Path, sha256: str):
    with pytest.raises(InputError, match="not a SHA-256 checksum"):
        weights.verify(file, sha256, "toy weights")


def test_a_missing_file_says_what_to_put_where(tmp_path: Path):
    path = tmp_path / "weights" / "model.pt"
    with pytest.raises(InputError) as caught:
        weights.verify(path, "", "toy weights (example.org/model.pt)")
    for part in ("toy weights (example.org/model.pt)", "does not exist", f"put it at {path}"):
        assert part in str(caught.value)


def test_an_empty_file_and_a_directory_are_refused(tmp_path: Path):
    (tmp_path / "empty.pt").touch()
    with pytest.raises(InputError, match=r"empty\.pt is empty"):
        weights.verify(tmp_path / "empty.pt", "", "toy weights")
    with pytest.raises(InputError, match="is a directory"):
        weights.verify(tmp_path, "", "toy weights")


def test_checking_weights_needs_no_torch(repository: Path):
    code = "import sys, cxr.training.weights; print(sorted({'torch', 'pandas', 'PIL'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository / "workflow", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
