"""The images of a folder as a preflight sees them: one file of several, other formats, 16 bits, odd names."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from png_files import orientation
from png_files import png as png_file
from running import executed, planned, snakemake

from cxr.data import duplicates, folder, image_cache, image_index, image_store, ledger, preflight
from cxr.data.formats import decode
from cxr.errors import InputError
from cxr.runtime import journal
from runner import guard

NAMES = [f"0000000{number}_000.png" for number in range(1, 7)]
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,"
    "Height],OriginalImagePixelSpacing[x,y],"
)


def picture(number: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@dataclass
class Told:
    index: pd.DataFrame
    rejected: pd.DataFrame
    notes: list[str]
    decoded: list[str]


class Study:
    """Six images of 64 px in images/, their tables beside them, and what a preflight makes of the folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch):
        self.root = root / "data"
        for number, name in enumerate(NAMES):
            save(self.root / "images" / name, picture(number))
        rows = [f"{name},No Finding,0,{number},57,M,PA,2000,2000,0.1,0.1," for number, name in enumerate(NAMES)]
        (self.root / "labels.csv").write_text("\n".join([HEADER, *rows]))
        (self.root / "boxes.csv").write_text(
            f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{NAMES[0]},Mass,10,20,300,400,,,\n"
        )
        self.tables = preflight.Tables(self.root / "labels.csv", self.root / "boxes.csv")
        out = self.root.parent / "out"
        self.images = preflight.ImageOutputs(out / "index.csv", out / "rejected.csv", out / "notes.json")
        self.decoded: list[str] = []
        self.said: list[str] = []
        plain = decode.decode

        def counted(path: Path):
            self.decoded.append(journal.legible(path.relative_to(self.root)))
            return plain(path)

        monkeypatch.setattr(image_cache, "decode", counted)
        monkeypatch.setattr(duplicates, "decode", counted)

    def preflight(self, store: str = "store", workers: int = 2, **settings) -> Told:
        out, store = self.root.parent / "out", self.root.parent / store
        out.mkdir(exist_ok=True)
        self.decoded.clear()
        preflight.decode_images(
            images=preflight.ImageFolder(self.root, **{"include": [], "exclude": [], "bits": 0} | settings),
            tables=self.tables,
            cache=image_cache.ImageCache(store, 32, 64),
            workers=workers,
            outputs=self.images,
            tell=self.said.append,
        )
        index = image_index.read_index(out / "index.csv").set_index("image", drop=False)
        rejected = pd.read_csv(out / "rejected.csv", keep_default_na=False).set_index("item")
        return Told(index, rejected, json.loads((out / "notes.json").read_text()), sorted(self.decoded))

    def pixels(self, index: pd.DataFrame, name: str, store: str = "store") -> np.ndarray:
        return image_store.open_store(self.root.parent / store, index.reset_index(drop=True), 32, "all", print).read(
            [name]
        )[0]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return Study(tmp_path, monkeypatch)


def test_an_ordinary_folder_has_nothing_worth_knowing(study: Study):
    told = study.preflight()
    assert told.notes == [] and told.rejected.empty
    assert told.index["path"].tolist() == [f"images/{name}" for name in NAMES]
    assert study.preflight().decoded == []


def looked_at(study: Study) -> dict:
    """Arguments of the second half of a preflight, after the first has been run."""
    study.preflight()
    out = study.root.parent / "out"
    return {
        "tables": study.tables,
        "lists": [],
        "images": study.images,
        "root": study.root,
        "outputs": preflight.RecordOutputs(
            **{name: out / f"{name}_written" for name in ("records", "boxes", "rejected", "summary", "text")}
        ),
        "tell": lambda text: None,
    }


@pytest.mark.parametrize("damage", [b"", b"[1", b"{}", b"[1]", b"\xff\xfe\0", None])
@pytest.mark.parametrize("name", ["notes", "rejected", "index"])
def test_a_file_of_our_own_that_is_damaged_is_named_with_what_to_do(study: Study, name, damage):
    arguments = looked_at(study)
    preflight.write(**arguments)
    path = getattr(study.images, name)
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(InputError) as caught:
        preflight.write(**arguments)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "again" in text


# ---- several files of one name


def test_of_different_pixels_those_that_lie_as_in_the_release_are_used(study: Study):
    save(study.root / "gradcam" / NAMES[2], np.full((64, 64), 90, np.uint8))  # sorts before images/
    save(study.root / "images-224" / NAMES[2], picture(2, 96))
    told = study.preflight()
    assert told.index.at[NAMES[2], "path"] == f"images/{NAMES[2]}"
    np.testing.assert_array_equal(study.pixels(told.index, NAMES[2]), decode.shrink(picture(2), 32))
    assert told.rejected["reason"].to_dict() == {
        f"gradcam/{NAMES[2]}": "duplicate file name: other pixels",
        f"images-224/{NAMES[2]}": "duplicate file name: other pixels",
    }
    assert set(told.rejected["detail"]) == {f"images/{NAMES[2]} is used"}
    (note,) = told.notes
    assert note == (
        "Image files with the same name as another file, which is used because it lies where the release has it: 2, for example "
        f"gradcam/{NAMES[2]} (other pixels) beside images/{NAMES[2]}; the settings data.include and data.exclude say which "
        "folders count."
    )
    assert told.decoded.count(f"images-224/{NAMES[2]}") == 0, "another size is another picture"
    again = study.preflight()
    assert again.decoded == [] and again.notes == told.notes and again.index.equals(told.index)


def test_equal_pixels_are_one_image(study: Study):
    (study.root / "copy").mkdir()
    shutil.copy(study.root / "images" / NAMES[0], study.root / "copy" / NAMES[0])
    save(study.root / "mirror" / "00000001_000.PNG", picture(0), compress_level=0)  # other bytes
    told = study.preflight()
    assert told.index.at[NAMES[0], "path"] == f"images/{NAMES[0]}"
    assert set(told.rejected["reason"]) == {"duplicate file name: same pixels"} and len(told.rejected) == 2
    (note,) = told.notes
    assert note == (
        "Image files with the same name and pixels as another file, which is used (they count as one image): 2, for example "
        f"copy/{NAMES[0]} (same pixels) beside images/{NAMES[0]}."
    )
    assert f"copy/{NAMES[0]}" not in told.decoded, "equal bytes need no decoding"
    rows = pd.read_csv(study.root.parent / "store" / "ledger.csv")
    remembered = set(rows.loc[rows["path"] == f"copy/{NAMES[0]}", "digest"])
    assert remembered == {told.index.at[NAMES[0], "digest"]}, "nor are they compared again"
    assert study.preflight().decoded == []


def test_equal_pixels_in_strange_folders_are_one_image_too(study: Study):
    (study.root / "images").rename(study.root / "b")
    shutil.copytree(study.root / "b", study.root / "a")
    told = study.preflight()
    assert told.index["path"].tolist() == [f"a/{name}" for name in NAMES]
    assert len(told.decoded) == len(set(told.decoded)) == 6, "each once"


def test_results_of_a_run_below_the_root_are_none_of_its_images(study: Study):
    save(study.root / "results/nih/yolo/images" / NAMES[0], picture(9))
    guard.lock(study.root / "results/nih").close()
    before = folder.fingerprint(study.root)
    told = study.preflight()
    assert told.notes == [] and told.rejected.empty and told.decoded == [f"images/{name}" for name in NAMES]
    save(study.root / "results/nih/yolo/images" / NAMES[1], picture(9))
    assert folder.fingerprint(study.root) == before


@pytest.mark.parametrize(
    ("places", "settings", "used"),
    [
        (["a", "b"], {}, None),
        (["images", "images_001/images"], {}, None),  # both lie as in the release
        (["", "data/images"], {}, None),
        (["images", "images_001/images"], {"exclude": ["images_001"]}, "images"),
        (["a", "b"], {"include": ["b/*"]}, "b"),
        (["a", "images_013/images"], {}, None),  # the release has twelve
        (["", "a"], {}, ""),
        (["data/images/images", "x/images"], {}, "data/images/images"),
        (["images_012/images", "images-224"], {}, "images_012/images"),
    ],
)
def test_where_the_layout_leaves_a_doubt_preflight_stops(study: Study, places, settings, used):
    (study.root / "images" / NAMES[1]).unlink()
    paths = [os.path.join(place, NAMES[1]) for place in places]
    for number, path in enumerate(paths):
        save(study.root / path, picture(10 + number))
    if used is not None:
        assert study.preflight(**settings).index.at[NAMES[1], "path"] == os.path.join(used, NAMES[1])
        return
    with pytest.raises(InputError) as caught:
        study.preflight(**settings)
    text = str(caught.value)
    assert f"{study.root}: several files below this folder have the name of one image of the label table" in text
    assert all(f"{path} (64x64)" in text for path in paths)
    assert "data.include or data.exclude" in text and f'{{exclude: ["{places[1]}/*"]}}' in text


def test_another_size_is_another_picture(study: Study):
    (study.root / "images").rename(study.root / "full")
    save(study.root / "small" / NAMES[0], picture(0, 96))
    with pytest.raises(InputError, match=r"is full/00000001_000\.png \(64x64\) and small/00000001_000\.png \(96x96\)"):
        study.preflight()
    assert study.decoded == [], "which the headers say"


def test_the_number_of_names_in_doubt_is_told(study: Study):
    shutil.copytree(study.root / "images", study.root / "images_001" / "images")
    save(study.root / "images_001" / "images" / NAMES[4], picture(44))
    save(study.root / "gradcam" / NAMES[4], picture(45))
    with pytest.raises(InputError, match=r"images concerned: 6\).* 00000005_000\.png is images/00000005_000\.png"):
        study.preflight()


def test_a_damaged_file_of_the_release_is_not_replaced_by_a_thumbnail(study: Study):
    (study.root / "images" / NAMES[3]).write_bytes((study.root / "images" / NAMES[3]).read_bytes()[:500])
    save(study.root / "images-224" / NAMES[3], picture(3, 96))
    told = study.preflight()
    assert told.index.at[NAMES[3], "status"] == "truncated"
    assert told.index.at[NAMES[3], "path"] == f"images/{NAMES[3]}"


def test_what_cannot_be_used_is_no_doubt(study: Study):
    (study.root / "images").rename(study.root / "x")
    save(study.root / "a" / NAMES[0], picture(0, 32))  # an icon
    save(study.root / "b" / NAMES[0], np.zeros((64, 90), np.uint8))
    (study.root / "c").mkdir()
    (study.root / "c" / NAMES[0]).write_bytes(b"no image")
    (study.root / "d").mkdir()
    (study.root / "d" / NAMES[0]).write_bytes((study.root / "x" / NAMES[0]).read_bytes()[:-30])
    told = study.preflight()
    assert told.index.at[NAMES[0], "path"] == f"x/{NAMES[0]}" and (told.index["status"] == "ok").all()
    assert told.rejected["reason"].tolist() == [
        f"duplicate file name: {why}" for why in ("smaller than 64 px", "not square", "unreadable", "truncated")
    ]
    assert told.notes[0].startswith(
        "Image files with the same name as another file, which is used because they are unusable: 4"
    )


def test_files_whose_name_is_in_no_table_are_not_compared(study: Study):
    for place in ("a", "b"):
        save(study.root / place / "99999999_000.png", picture(len(place)))
    told = study.preflight()
    assert told.rejected["reason"].tolist() == ["not in the label table"] * 2 and len(told.decoded) == 6


def test_values_of_sixteen_bits_are_compared_as_they_are_stored(study: Study):
    name, deep = NAMES[0], picture(0).astype(np.uint16) * 16
    save(study.root / "images" / name, deep)
    save(study.root / "copy" / name, deep, compress_level=0)
    save(study.root / "scaled" / name, deep * 16)
    told = study.preflight()
    assert told.rejected["reason"].to_dict() == {
        f"copy/{name}": "duplicate file name: same pixels",
        f"scaled/{name}": "duplicate file name: other pixels",
    }
    assert told.index.at[name, "bits"] == 12 and study.preflight().decoded == []


def test_a_pattern_that_matches_nothing_is_told(study: Study):
    told = study.preflight(exclude=["gradcam", "images/*6_000.png"])
    assert told.notes == ["The pattern 'gradcam' of data.exclude matches no image below the folder."]
    assert told.index["image"].tolist() == NAMES[:5]


# ---- other formats, other names


def test_images_in_other_formats_are_named(study: Study):
    for name in NAMES[1:]:
        (study.root / "images" / name).unlink()
    for name, ending in zip(NAMES[1:], (".jpg", ".JPG", ".dcm", "", ".jpg"), strict=True):
        (study.root / "images" / name.replace(".png", ending)).write_bytes(b"x")
    (study.root / "images" / "elsewhere.jpg").write_bytes(b"x")
    (note,) = study.preflight().notes
    assert note.startswith(
        "Files with names of the label table that are not PNG, without a PNG file of that name: 5 (1 without"
    )
    assert "1 without an ending, 1 .dcm, 3 .jpg), for example images/00000002_000.jpg" in note and "convert" in note
    (study.root / "images" / NAMES[0]).unlink()
    with pytest.raises(InputError, match=r"data: there is no image \(\*\.png\) below.* that are not PNG, .*: 5 "):
        study.preflight()


def test_a_folder_of_other_images_names_one_of_each(study: Study):
    for name in NAMES:
        (study.root / "images" / name).rename(study.root / "images" / f"x{name}")
    with pytest.raises(
        InputError, match=r"none of the 6 images .*first file is images/x00000001_000\.png.* 00000001_000"
    ):
        study.preflight()


def test_odd_names_stop_nothing_and_are_spelled(study: Study):
    latin = os.fsdecode(b"R\xf6ntgen")
    (study.root / "images").rename(study.root / latin)
    (study.root / "cr\rlf").mkdir()
    (study.root / latin / NAMES[5]).rename(study.root / "cr\rlf" / NAMES[5])
    odd = [latin, "two\nlines", "$HOME", "{x}", "-n", "qu'o\"te", "a" * 251]
    for name in odd:
        (study.root / f"{name}.png").write_bytes(b"")
    (study.root / f"{latin}.jpg").write_bytes(b"")
    told = study.preflight()
    assert (told.index["status"] == "ok").all()
    assert told.index["path"].tolist() == [
        *(f"R\\xf6ntgen/{name}" for name in NAMES[:5]),
        f"cr\\rlf/{NAMES[5]}",
    ]
    spelled = ["R\\xf6ntgen", "two\\nlines", *odd[2:4], "'-n", *odd[5:]]  # of which a spreadsheet runs none
    assert sorted(told.rejected.index) == sorted(f"{name}.png" for name in spelled)
    assert study.preflight().decoded == []
    (study.root.parent / "store" / "32" / "shard-00000.u8").unlink()
    assert study.pixels(told.index, NAMES[5]).tolist() == decode.shrink(picture(5), 32).tolist(), "mended from its file"


# ---- 16 bits


def deepen(study: Study, numbers, factor: int, **options) -> None:
    for number in numbers:
        save(study.root / "images" / NAMES[number], picture(number).astype(np.uint16) * factor, **options)


def assert_shown_as_eight_bits(study: Study, index: pd.DataFrame) -> None:
    for number, name in enumerate(NAMES):
        shown, expected = study.pixels(index, name).astype(int), decode.shrink(picture(number), 32)
        assert abs(shown - expected).max() <= 1, name


def test_twelve_bits_in_sixteen_are_shown_as_bright_as_eight(study: Study):
    deepen(study, range(4), 16)
    told = study.preflight()
    assert_shown_as_eight_bits(study, told.index)
    assert told.index["bits"].tolist() == [12] * 4 + [0] * 2
    (note,) = told.notes
    highest = max((int(picture(number).max()) * 16, -number) for number in range(4))
    assert note == (
        "16-bit PNG files that do not state how many of their bits count (no sBIT chunk): 4 read at 12 bits (4,095 is "
        f"white; the highest value among them is {highest[0]:,}, in images/{NAMES[-highest[1]]}). If that is wrong, set "
        "data.bits."
    )
    again = study.preflight()
    assert again.decoded == [] and again.notes == told.notes and again.index.equals(told.index)


def test_a_dark_picture_stays_dark_beside_the_others(study: Study):
    deepen(study, range(5), 16)
    save(study.root / "images" / NAMES[5], picture(5).astype(np.uint16) * 4)
    told = study.preflight()
    assert told.index["bits"].tolist() == [12] * 6
    dark = study.pixels(told.index, NAMES[5]).astype(int)
    assert abs(dark - decode.shrink(picture(5), 32) / 4).max() <= 1
    assert study.preflight().decoded == []


def test_two_kinds_of_values_in_one_folder_are_told_apart(study: Study):
    deepen(study, (0, 1), 16)
    deepen(study, (2, 3), 257)
    told = study.preflight()
    assert_shown_as_eight_bits(study, told.index)
    assert (
        ": 2 read at 12 bits (4,095 is white; " in told.notes[0] and ", and 2 read at 16 bits (65,535" in told.notes[0]
    )


def test_what_files_say_comes_before_the_folder(study: Study):
    deepen(study, (0, 1, 2), 257)
    stored = png_file(picture(3).astype(int) * 16, 16, 0, [(b"sBIT", b"\x0c")])
    scaled = png_file(picture(4).astype(int) * 257, 16, 0, [(b"sBIT", b"\x0c")])
    (study.root / "images" / NAMES[3]).write_bytes(stored)
    (study.root / "images" / NAMES[4]).write_bytes(scaled)
    told = study.preflight(bits=16)
    assert_shown_as_eight_bits(study, told.index)
    assert told.index["bits"].tolist() == [16, 16, 16, 12, 16, 0]
    assert len(told.notes) == 2 and told.notes[1] == (
        f"16-bit PNG files whose sBIT chunk states 12 bits (4,095 is white): 1, for example images/{NAMES[3]}."
    )


def test_a_new_image_that_changes_the_bits_has_the_others_decoded_again(study: Study):
    deepen(study, range(4), 16)
    before = study.preflight()
    deepen(study, (4,), 80)  # up to 20,400: the folder is of 16 bits, and 12 are no longer plausible beside it
    deepen(study, (5,), 40)  # up to 10,200
    told = study.preflight()
    assert told.index["bits"].tolist() == [12] * 4 + [16, 16]
    assert told.decoded == [f"images/{NAMES[4]}"] * 2 + [f"images/{NAMES[5]}"] * 2, "only measured, then decoded"
    (study.root / "images" / NAMES[4]).unlink()
    told = study.preflight()
    assert told.index["bits"].tolist() == [14] * 5, "without it 14 bits hold all"
    assert told.decoded == [f"images/{name}" for name in (*NAMES[:4], NAMES[5])]
    assert told.index["digest"].tolist()[:4] != before.index["digest"].tolist()[:4]
    set_bits = study.preflight(bits=12)
    assert (
        set_bits.index["bits"].tolist() == [12] * 5
        and "5 read at 12 bits, as set in data.bits (4,095" in set_bits.notes[0]
    )
    assert set_bits.index["digest"].tolist()[:4] == before.index["digest"].tolist()[:4]


def test_order_and_interruptions_do_not_change_how_a_folder_is_read(study: Study, monkeypatch: pytest.MonkeyPatch):
    deepen(study, range(6), 16)
    whole = study.preflight("whole")
    monkeypatch.setattr(ledger, "SHARD_IMAGES", 2)
    plain = decode.digest_of
    for stop in range(1, 18):
        counted = iter(range(stop))

        def digest(pixels, counted=counted):
            if next(counted, None) is None:
                raise KeyboardInterrupt
            return plain(pixels)

        monkeypatch.setattr(image_cache, "digest_of", digest)
        with pytest.raises(KeyboardInterrupt):
            study.preflight(f"stopped{stop}", workers=1)
        monkeypatch.setattr(image_cache, "digest_of", plain)
        told = study.preflight(f"stopped{stop}", workers=1)
        assert told.index["digest"].equals(whole.index["digest"]) and told.notes == whole.notes
        assert (
            study.pixels(told.index, NAMES[3], f"stopped{stop}") == study.pixels(whole.index, NAMES[3], "whole")
        ).all()


@pytest.mark.parametrize("header", ledger.EARLIER, ids=["without checksums", "without bits and checksums"])
def test_of_a_ledger_of_an_earlier_version_nothing_is_believed_and_that_is_said(study: Study, header: list[str]):
    deepen(study, (0, 1), 16)
    turned = png_file(picture(2), 8, 0, [orientation(3)])
    (study.root / "images" / NAMES[2]).write_bytes(turned)
    told = study.preflight()
    path = study.root.parent / "store" / "ledger.csv"
    rows = pd.read_csv(path, keep_default_na=False, skipfooter=1, engine="python")
    rows[header].to_csv(path, index=False)
    assert not any("earlier version" in text for text in study.said)
    again = study.preflight()
    assert again.decoded == sorted(f"images/{name}" for name in [*NAMES, *NAMES[:2]]), "16 bits are looked at twice"
    assert again.index.equals(told.index)
    assert sum("every image is decoded again" in text for text in study.said) == 1
    assert study.preflight().decoded == []


def test_a_turned_picture_is_turned_and_told(study: Study):
    (study.root / "images" / NAMES[1]).write_bytes(png_file(picture(1), 8, 0, [orientation(6)]))
    told = study.preflight()
    expected = decode.shrink(np.ascontiguousarray(np.rot90(picture(1), -1)), 32)
    np.testing.assert_array_equal(study.pixels(told.index, NAMES[1]), expected)
    assert told.notes[0].startswith(
        "Images turned to the orientation that their EXIF block states: 1, for example images/"
    )
    assert study.preflight().notes == told.notes


# ---- the workflow


def configuration(root: Path, more: str = "") -> list[str]:
    (root / "train_val.txt").write_text("\n".join(NAMES[:4]))
    (root / "test.txt").write_text("\n".join(NAMES[4:]))
    tables = "label_table: labels.csv, box_table: boxes.csv, train_val_list: train_val.txt, test_list: test.txt"
    return ["name=real", f"data={{source: nih, root: {json.dumps(str(root))}, {tables}{more}}}"]


def test_a_folder_whose_name_snakemake_would_not_take_literally(study: Study, repository: Path, tmp_path: Path):
    """Blanks, quotes, dollars and letters beyond ASCII are taken as they are; what is left out re-runs nothing."""
    root = study.root.rename(tmp_path / 'o\'neil $HOME "ü" [1]*')
    save(root / "maps" / NAMES[0], picture(9))
    config = configuration(root, ", exclude: [maps]")
    done = executed(repository, tmp_path, "--", "preflight", config=config)
    assert done == {"images": 1, "records": 1, "preflight": 1}
    save(root / "maps" / NAMES[0], picture(10))
    save(root / "maps" / NAMES[1], picture(11))
    assert planned(repository, tmp_path, "--", "preflight", config=config) == {"preflight": 1}
    save(root / "images" / NAMES[0], picture(12))
    assert planned(repository, tmp_path, "--", "preflight", config=config)["images"] == 1


def test_a_folder_with_a_wildcard_in_its_name_is_refused(study: Study, repository: Path, tmp_path: Path):
    root = study.root.rename(tmp_path / "br{x}ace")
    code, output = snakemake(repository, tmp_path, "--dry-run", "--", "preflight", config=configuration(root))
    assert code != 0 and "Traceback" not in output
    assert f"Error: {root}: Snakemake takes text in braces for a wildcard" in output and "ln -s" in output
    (tmp_path / "link").symlink_to(root)
    code, output = snakemake(
        repository, tmp_path, "--dry-run", "--", "preflight", config=configuration(tmp_path / "link")
    )
    assert code == 0, output
