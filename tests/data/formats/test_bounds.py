"""Pictures that a few bytes claim to be huge: refused by what their headers say, before memory is taken for them."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from dicoms import deflate_more, stating, stating_2000, stream, write
from PIL import Image
from png_files import blank
from pydicom import uid

from cxr.data.formats import bounds, codestreams, decode, pictures, png
from cxr.data.formats.decode import UnusableImage

SMALL = np.zeros((64, 64), int)
MEMORY = 200_000_000  # bytes that decoding may take at most, of any of these files; without bounds it is gigabytes
LONG, PIXELS = "longer than 20,000 px", "more than 89 megapixels"
BOMB = zlib.compress(bytes(100_000_000), 1)


def saved(kind, **options):
    """A grey picture of 64 px in a format of Pillow's."""
    file = io.BytesIO()
    Image.fromarray(SMALL.astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


def put_png(folder):
    """Write PNG files; return file name → the reason to refuse it as a new image, and as an image of the study."""
    files = {
        "wide.png": (blank(890_000, 200), LONG, LONG),
        "large.png": (blank(13_000, 13_000), PIXELS, PIXELS),
        "deep.png": (blank(9_400, 9_400, 16, 2), *["larger than 400 MB when decoded"] * 2),
        "text.png": (blank(100, 100, chunks=[(b"zTXt", b"a\0\0" + BOMB)]), *["unreadable"] * 2),
        "profile.png": (blank(100, 100, chunks=[(b"iCCP", b"a\0\0" + BOMB)]), *["unreadable"] * 2),
        "all.png": (blank(1, 1)[:16] + b"\xff" * 8 + blank(1, 1)[24:], LONG, LONG),
    }
    for name, (data, _, _) in files.items():
        (folder / name).write_bytes(data)
    with (folder / "sparse.png").open("wb") as file:
        file.write(blank(100, 100)[:-12])
        file.truncate(100 << 30)
    sparse = ("", "larger than 400 MB", "larger than 400 MB")
    return {name: reasons for name, (_, *reasons) in ({**files, "sparse.png": sparse}).items()}


def put_others(folder):
    """Write DICOM and JPEG files; return file name → reason."""
    eight = {"BitsAllocated": 8, "bits": 8}

    def dicom(name, syntax, data=None, **elements):
        write(folder / name, SMALL, syntax=syntax, stream=data, **elements)

    rle = struct.pack("<16L", 2, 64, 66, *[0] * 13) + bytes(4)
    dicom("rle.dcm", uid.RLELossless, rle, Rows=65535, Columns=32767)
    long = b"\x81\0" * 4_000_000  # 512 MB
    dicom("segment.dcm", uid.RLELossless, struct.pack("<16L", 2, 64, 64 + len(long), *[0] * 13) + long + long)
    dicom("deflated.dcm", uid.DeflatedExplicitVRLittleEndian)
    deflate_more(folder / "deflated.dcm", [bytes(1 << 20)] * 400)
    elements = [struct.pack("<HH2sH", 0x7FE1 + (n >> 16), n & 0xFFFF, b"LO", 0) for n in range(310_000)]
    dicom("elements.dcm", uid.DeflatedExplicitVRLittleEndian)
    deflate_more(folder / "elements.dcm", [b"".join(elements)])
    dicom("baseline.dcm", uid.JPEGBaseline8Bit, stating(saved("JPEG"), b"\xff\xc0", 30_000, 30_000), **eight)
    dicom("lossless.dcm", uid.JPEGLossless, stating(stream("JPEGLossless"), b"\xff\xc3", 15_000, 15_000))
    dicom("ls.dcm", uid.JPEGLSLossless, stating(stream("JPEGLSLossless"), b"\xff\xf7", 15_000, 15_000))
    plain = saved("JPEG2000", no_jp2=True)
    dicom("j2k.dcm", uid.JPEG2000, stating_2000(plain, 15_000, 15_000, 15_000), **eight)
    dicom("tiles.dcm", uid.JPEG2000, stating_2000(plain, 15_000, 15_000, 60), **eight)
    dicom("jp2.dcm", uid.JPEG2000, stating_2000(saved("JPEG2000", no_jp2=False), 15_000, 15_000, 60), **eight)
    with (folder / "sparse.dcm").open("wb") as file:
        file.write((folder / "rle.dcm").read_bytes())
        file.truncate(100 << 30)
    (folder / "frame.jpg").write_bytes(stating(saved("JPEG"), b"\xff\xc0", 13_000, 13_000))
    return {
        "rle.dcm": LONG,
        "segment.dcm": "unreadable",
        "deflated.dcm": "larger than 400 MB when inflated",
        "elements.dcm": "a DICOM header of too many elements",
        "baseline.dcm": LONG,
        **dict.fromkeys(("lossless.dcm", "ls.dcm", "j2k.dcm", "tiles.dcm", "jp2.dcm", "frame.jpg"), PIXELS),
        "sparse.dcm": "larger than 400 MB",
    }


def test_what_a_few_bytes_claim_takes_no_memory(repository, tmp_path):
    """In a process of its own, whose highest memory tells of this alone."""
    expected = {}
    for name, (new, study) in put_png(tmp_path).items():
        expected |= {f"{tmp_path}/{name}": new, f"study:{tmp_path}/{name}": study}
    expected |= {f"{tmp_path}/{name}": reason for name, reason in put_others(tmp_path).items()}
    assert max(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) < 20_000_000
    command = [sys.executable, repository / "tests/support/weigh.py", *expected]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(repository / "workflow")}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: reason for name, (reason, _) in found.items()} == expected
    assert max(memory for _, memory in found.values()) < MEMORY, found


@pytest.mark.parametrize(
    ("width", "height", "bits", "reason"),
    [
        (4300, 13_000, 16, None),  # a whole leg, stitched
        (4800, 6000, 16, None),  # a mammogram
        (8400, 10_200, 16, None),  # a film of 14 × 17 inches at 600 dpi
        (20_000, 4450, 32, None),
        (20_001, 100, 8, LONG),
        (100, 20_001, 8, LONG),
        (9434, 9434, 8, PIXELS),
        (9400, 9400, 48, "larger than 400 MB when decoded"),
        (2**32 - 1, 2**32 - 1, 8, LONG),
    ],
)
def test_bounds_lie_above_every_radiograph(width, height, bits, reason):
    objection = bounds.objection(width, height, bits)
    assert (objection and objection[0]) == reason
    assert reason is None or f"{width}x{height}" in objection[1], "a person can act on it"


def test_the_bound_of_the_library_is_never_the_one_that_counts():
    """A library may switch it off for the whole process (ultralytics does); below it Pillow does not warn either."""
    assert bounds.MOST_PIXELS < 2**30 // 12


# ---- compressed streams


@pytest.mark.parametrize("name", ["JPEGExtended12Bit", "JPEGLossless", "JPEGLosslessSV1", "JPEGLSLossless"])
def test_the_size_of_a_jpeg_stream(name):
    assert codestreams.of_jpeg(stream(name)) == codestreams.Size(64, 64, 16)


@pytest.mark.parametrize("mode, samples", [("L", 1), ("RGB", 3), ("CMYK", 4)])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_size_of_what_pillow_writes(mode, samples, progressive):
    file, file_2000 = io.BytesIO(), io.BytesIO()
    picture = Image.effect_noise((333, 200), 60).convert(mode)
    picture.save(file, "JPEG", progressive=progressive)
    assert codestreams.of_jpeg(file.getvalue()) == codestreams.Size(333, 200, 8 * samples)
    picture.convert("L" if samples == 1 else "RGB").save(file_2000, "JPEG2000", no_jp2=progressive)
    assert codestreams.of_jpeg2000(file_2000.getvalue()) == codestreams.Size(333, 200, 32 * min(samples, 3))


def test_of_several_sizes_the_largest_counts_but_for_that_of_a_thumbnail():
    plain = saved("JPEG")
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + 11) + b"\xff\xc0\0\x0b\x08\x7f\xff\x7f\xff\x01\0"
    assert codestreams.of_jpeg(plain[:2] + thumbnail + plain[2:]).width == 64
    frame = b"\xff\xde\0\x0b\x08" + struct.pack(">HH", 40_000, 30_000) + b"\x01\x01\x11\0"  # of a hierarchy
    assert codestreams.of_jpeg(plain[:2] + frame + plain[2:]) == codestreams.Size(30_000, 40_000, 8)
    scan = plain.index(b"\xff\xda") + 10
    assert codestreams.of_jpeg(plain[:scan] + frame + plain[scan:]).height == 40_000, "after a first scan"
    assert codestreams.of_jpeg(plain + frame).height == 64, "behind the end"


def test_a_height_that_comes_later():
    unknown = stating(saved("JPEG"), b"\xff\xc0", 64, 0)
    assert codestreams.of_jpeg(unknown).height == 65_535
    known = unknown[:-2] + b"\xff\xdc\0\x04" + struct.pack(">H", 777) + unknown[-2:]
    assert codestreams.of_jpeg(known).height == 777


def test_streams_that_state_no_size_are_refused(tmp_path):
    for data in (b"", b"\xff", b"\xff\xd8\xff", b"\0" * 99, b"\xff\xd8" + b"\xff\xe0\0\0" * 9, b"\xff\xc4" * 40):
        assert codestreams.of_jpeg(data) is None and codestreams.of_jpeg2000(data) is None
    write(tmp_path / "a.dcm", SMALL, syntax=uid.JPEG2000, stream=b"\xff\x4f" + bytes(99))
    with pytest.raises(
        UnusableImage, match="do not state the size of the picture; transfer the file again, or decompress it"
    ):
        pictures.decode(tmp_path / "a.dcm")


def test_a_palette_in_a_jp2_file_counts_with_what_it_can_make():
    plain = saved("JPEG2000", no_jp2=False)
    at = plain.index(b"jp2c") - 4
    assert codestreams.of_jpeg2000(plain[:at] + b"\0\0\0\x0cpclr\0\0\0\0" + plain[at:]).bits == 255 * 32


def test_the_length_of_a_segment_of_rle():
    assert codestreams.unpacked(b"\x81\0\x02abc\x80\xff\0", 999) == 128 + 3 + 2
    assert codestreams.unpacked(b"", 999) == 0
    assert 1000 < codestreams.unpacked(b"\x81\0" * 1000, 1000) <= 1128


# ---- what no header tells


BOUNDED = """
import sys
from pathlib import Path
from cxr.data.formats import decode, pictures
path, most = Path(sys.argv[1]), pictures.MOST_MEMORY
pictures.MOST_MEMORY = 20_000_000
try:
    pictures.decode(path)
except decode.UnusableImage as error:
    print(error.reason)
pictures.MOST_MEMORY = most
print(pictures.decode(path)[0].shape)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system does not say what memory a process has")
def test_memory_beyond_the_bound_sets_a_picture_aside_and_is_lifted_again(repository, tmp_path):
    """In a process of its own: this one may have so much free memory that it asks for none."""
    (tmp_path / "a.png").write_bytes(blank(4000, 4000, 8, 6))
    package = str(repository / "workflow")
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, tmp_path / "a.png"],
        env=os.environ | {"PYTHONPATH": package},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["takes too much memory to decode", "(4000, 4000)"], done.stderr


def test_a_jpeg_of_very_many_scans_is_refused(tmp_path):
    data = saved("JPEG", progressive=True)
    (tmp_path / "a.jpg").write_bytes(data)
    assert pictures.decode(tmp_path / "a.jpg")[1] == "JPEG"
    last = data.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(data[:last] + data[last:-2] * 101 + data[-2:])
    with pytest.raises(UnusableImage, match="more than 100 scans"):
        pictures.decode(tmp_path / "a.jpg")


def test_a_dicom_element_that_is_far_too_long_is_not_turned_into_values(tmp_path):
    """It counts as absent: a window of a million numbers would be as many objects."""
    path, ramp = tmp_path / "a.dcm", SMALL + np.arange(64) * 50
    write(path, ramp, syntax=uid.ImplicitVRLittleEndian)
    plain = pictures.decode(path)[0]
    for count, same in ((200_000, False), (300_000, True)):
        write(path, ramp, syntax=uid.ImplicitVRLittleEndian, WindowCenter="123456", WindowWidth=900)
        before, after = path.read_bytes().split(b"123456")
        many = b"500\\" * count
        path.write_bytes(before[:-4] + struct.pack("<I", len(many)) + many + after)
        assert np.array_equal(pictures.decode(path)[0], plain) == same


# ---- several threads


def test_of_the_threads_that_decode_one_at_a_time_has_a_large_picture(tmp_path, monkeypatch):
    """At sixteen threads the sum of what they take would be the machine's memory."""
    monkeypatch.setattr(decode, "LARGE", 5000)
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(blank(80, 80))
    plain, inside, most = png.values, [], []

    def values(data, facts):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return plain(data, facts)

    monkeypatch.setattr(png, "values", values)
    threads = [threading.Thread(target=decode.decode, args=[tmp_path / f"{number}.png"]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]
