"""The checksum of a row: every kind of damage changes it, and nothing else does."""

import re

import numpy as np
import pytest

from cxr.runtime import checksums

ROW = np.arange(64, dtype=np.uint8).reshape(8, 8)


def test_the_checksum_is_xxh3_of_the_bytes():
    """Values of the reference implementation (xxhash 0.8): XXH3_64bits of nothing and of "a"."""
    assert checksums.of_bytes(b"") == "2d06800538d394c2"
    assert checksums.of_bytes(b"a") == "e6c632b61e964e1f"
    assert checksums.of_row(np.frombuffer(b"a", np.uint8)) == "e6c632b61e964e1f"


def test_equal_numbers_have_one_checksum_however_they_lie_in_memory():
    assert checksums.of_row(ROW) == checksums.of_bytes(bytes(range(64)))
    assert checksums.of_row(np.asfortranarray(ROW)) == checksums.of_row(ROW)
    assert checksums.of_row(np.repeat(ROW, 2, axis=1)[:, ::2]) == checksums.of_row(ROW)
    assert checksums.of_row(ROW.view(np.uint16)) == checksums.of_row(ROW)


@pytest.mark.parametrize("size", [4096, 50176])
def test_every_kind_of_damage_changes_the_checksum(size):
    row = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    found = [checksums.of_row(row)]
    for bit in range(8):
        for place in (0, size // 3, size - 1):
            flipped = row.copy()
            flipped[place] ^= 1 << bit
            found.append(checksums.of_row(flipped))
    for start in (0, 512, size - 512):
        zeroed = row.copy()
        zeroed[start : start + 512] = 0
        found.append(checksums.of_row(zeroed))
    found += [checksums.of_row(part) for part in (row[:-1], row[1:], np.roll(row, 1), row[::-1], row[:0])]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("size", [0, 1, 4096, 401_408])
def test_a_row_of_zeros_has_a_checksum_and_it_is_not_that_of_nothing_recorded(size):
    found = checksums.of_row(np.zeros(size, np.uint8))
    assert found != checksums.NONE and set(found) != {"0"}
    assert re.fullmatch(checksums.FORM, found) and re.fullmatch(checksums.FORM, checksums.NONE)
    for no_checksum in ("True", found[:-1], found + "0", found.upper() + "G"):
        assert not re.fullmatch(checksums.FORM, no_checksum)


def test_the_owner_of_a_row_goes_into_its_checksum():
    owners = ["", "a\0b\0001", "a\0b\0002", "ab\0\0001", "ä"]
    assert len({checksums.of_row(ROW, owner) for owner in owners}) == len(owners)
    assert checksums.of_row(ROW, "ä") == checksums.of_row(ROW.copy(), "ä")
