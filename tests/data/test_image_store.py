import errno
import fcntl
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFile

from cxr.data import folder, image_cache, image_files, image_index, image_store, ledger
from cxr.data.formats import decode, png
from cxr.errors import InputError
from cxr.runtime import checksums

SIZE, BOX_SIZE = 32, 128


def quiet(done: int, total: int, seconds: float) -> None:
    pass


def picture(seed: int, side: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images in two folders: a.png to f.png."""
    for seed, name in enumerate("abcdef"):
        save(tmp_path / "root" / f"images_{seed % 2}" / f"{name}.png", picture(seed))
    return tmp_path / "root"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files decoded so far, in any order."""
    names: list[str] = []
    plain = decode.decode

    def counted(path: Path) -> tuple[np.ndarray, str, png.Facts]:
        names.append(path.name)
        return plain(path)

    monkeypatch.setattr(image_cache, "decode", counted)
    return names


def first(found: dict[str, list[str]]) -> dict[str, str]:
    return {name: paths[0] for name, paths in found.items()}


def update(
    root: Path, store: Path, boxed: str = "", size: int = SIZE, workers: int = 1, progress=quiet
) -> pd.DataFrame:
    paths = first(image_files.find_images(root)[0])
    names = {f"{letter}.png" for letter in boxed}
    return image_cache.update_store(
        root, paths, names, image_cache.ImageCache(store, size, BOX_SIZE), workers=workers, progress=progress
    )


def assert_pixels_are_those_of_the_files(root: Path, store: Path, index: pd.DataFrame, boxed: str = "") -> None:
    usable = index[index["status"] == "ok"]
    names = usable["image"].tolist()[::-1]
    originals = [decode.decode(root / path)[0] for path in usable["path"][::-1]]
    small = image_store.open_store(store, index, SIZE, "all", print).read(names)
    assert small.shape == (len(names), SIZE, SIZE) and small.dtype == np.uint8
    np.testing.assert_array_equal(small, [decode.shrink(pixels, SIZE) for pixels in originals])
    if boxed:
        large = image_store.open_store(store, index, BOX_SIZE, "boxed", print).read(
            [f"{letter}.png" for letter in boxed]
        )
        paths = dict(zip(index["image"], index["path"], strict=True))
        np.testing.assert_array_equal(large, [decode.decode(root / paths[f"{x}.png"])[0] for x in boxed])


# ---- finding files


def test_finds_images_anywhere_and_lists_what_is_none(root: Path):
    save(root / "images_1" / "deep" / "er" / "G.PNG", picture(7))
    save(root / "images_9" / "a.png", picture(8))
    (root / "images_0" / "folder.png").mkdir()
    (root / "lost.png").symlink_to(root / "nowhere.png")
    (root / "notes.txt").write_text("no image")

    (root / "images_1" / "._b.png").write_bytes(b"a resource fork of macOS")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "loop").symlink_to(root / "loop")

    paths, rejected = image_files.find_images(root)

    assert paths == {
        "a.png": ["images_0/a.png", "images_9/a.png"],
        "b.png": ["images_1/b.png"],
        "c.png": ["images_0/c.png"],
        "d.png": ["images_1/d.png"],
        "e.png": ["images_0/e.png"],
        "f.png": ["images_1/f.png"],
        "G.png": ["images_1/deep/er/G.PNG"],
    }
    assert list(rejected.columns) == ["table", "row", "item", "reason", "detail"]
    assert rejected[["item", "reason"]].values.tolist() == [
        ["loop.png", "not a regular file"],
        ["lost.png", "not a regular file"],
        ["images_0/folder.png", "a directory, not an image file"],
    ]
    assert rejected["row"].isna().all()


def test_files_of_one_name_come_in_order_of_preference_and_patterns_choose(root: Path):
    for place in ("a", "data/images", "images_005/images", "images-224", "z/images"):
        save(root / place / "a.PNG", picture(1))
    everything = ["data/images/a.PNG", "images_005/images/a.PNG"]  # lie as in the release
    everything += ["a/a.PNG", "images-224/a.PNG", "images_0/a.png", "z/images/a.PNG"]
    assert image_files.find_images(root)[0]["a.png"] == everything
    for include, exclude, kept in (
        (["images_005"], [], everything[1:2]),
        (["*/images"], ["z"], everything[:2]),
        (["*/images/*"], ["z/*", "data/"], everything[1:2]),
        ([], ["images*", "?"], everything[:1]),
        ([], ["*.PNG"], ["images_0/a.png"]),
        (["Images_0"], [], None),
    ):
        assert image_files.find_images(root, include, exclude)[0].get("a.png") == kept, (include, exclude)
        assert (folder.fingerprint(root, ".png", include, exclude) == folder.fingerprint(root)) is False
    assert folder.idle(root, ["images_0", "image_0", "/a", "*.PNG"]) == ["image_0", "/a"]


def test_links_are_followed_and_circles_end(root: Path, tmp_path: Path):
    save(tmp_path / "elsewhere" / "far.png", picture(9))
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "images_0" / "circle").symlink_to(root)
    paths, rejected = image_files.find_images(root)
    assert paths["far.png"] == ["link/far.png"]
    assert len(paths) == 7 and rejected.empty


def test_a_root_that_is_not_there_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(InputError, match=r"missing: no such folder"):
        image_files.find_images(tmp_path / "missing")


def test_fingerprint_changes_with_every_kind_of_change_and_only_then(root: Path):
    prints = [folder.fingerprint(root)]
    (root / "notes.txt").write_text("not an image")
    assert folder.fingerprint(root) == prints[0]
    target = root / "images_0" / "a.png"
    target.touch()
    prints.append(folder.fingerprint(root))
    target.rename(root / "images_1" / "a.png")
    prints.append(folder.fingerprint(root))
    (root / "images_1" / "a.png").unlink()
    prints.append(folder.fingerprint(root))
    save(root / "g.png", picture(3))
    prints.append(folder.fingerprint(root))
    assert len(set(prints)) == 5
    without = folder.fingerprint(root, ".png", [], ["maps"])
    save(root / "maps" / "a.png", picture(3))
    assert folder.fingerprint(root, ".png", [], ["maps"]) == without == prints[-1] != folder.fingerprint(root)


# ---- one image


def write_variants(folder: Path, grey: np.ndarray) -> dict[str, Path]:
    rgb = np.stack([grey] * 3, axis=-1)
    alpha = np.arange(grey.size, dtype=np.uint8).reshape(*grey.shape, 1)
    variants = {
        "L": Image.fromarray(grey),
        "RGB": Image.fromarray(rgb),
        "RGBA": Image.fromarray(np.concatenate([rgb, alpha], axis=-1)),
        "LA": Image.fromarray(np.concatenate([grey[..., None], alpha], axis=-1), "LA"),
        "I;16": Image.fromarray(grey.astype(np.uint16) * 257),
    }
    variants["P"] = Image.fromarray(255 - grey, "P")
    variants["P"].putpalette([255 - value for value in range(256) for _ in range(3)])
    for name, image in variants.items():
        image.save(folder / f"{name.replace(';', '')}.png")
    return {name: folder / f"{name.replace(';', '')}.png" for name in variants}


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_every_pixel_format_of_the_same_picture_decodes_to_the_same_grey(tmp_path: Path):
    grey = picture(1)
    for name, path in write_variants(tmp_path, grey).items():
        pixels, mode = png.picture(path.read_bytes())[0], decode.decode(path)[1]
        assert mode == name
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, grey, err_msg=name)


def test_one_bit_colour_and_sixteen_bit_values(tmp_path: Path):
    bits = picture(2) > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    pixels, mode, _ = decode.decode(tmp_path / "bits.png")
    assert mode == "1"
    np.testing.assert_array_equal(pixels, bits * np.uint8(255))

    save(tmp_path / "red.png", np.full((64, 64, 3), (255, 0, 0), dtype=np.uint8))
    assert (decode.decode(tmp_path / "red.png")[0] == 76).all()  # 0.299 · 255

    deep = np.zeros((64, 64), dtype=np.uint16)
    deep[0, :6] = 0, 128, 129, 385, 386, 65535  # 257 steps a grey value, rounded to the nearest
    save(tmp_path / "deep.png", deep)
    assert decode.decode(tmp_path / "deep.png")[0][0, :6].tolist() == [0, 128, 129, 385, 386, 65535]
    assert png.picture((tmp_path / "deep.png").read_bytes())[0][0, :6].tolist() == [0, 0, 1, 1, 2, 255]


def test_unusable_files_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = save(tmp_path / "whole.png", picture(1)).read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 2 : len(broken) // 2 + 40] = bytes(40)
    contents = {
        "zero bytes": [b""],
        "truncated": [whole[: len(whole) // 2], whole[:5], whole[:-6]],
        "unreadable": [b"plain text", b"\xff\xd8\xff\xe0 a JPEG", bytes(broken)],
    }
    cases = [(reason, content) for reason, several in contents.items() for content in several]
    for lenient in (False, True):  # some libraries switch this on for the whole process
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
        for reason, content in cases[:-1] if lenient else cases:
            (tmp_path / "case.png").write_bytes(content)
            with pytest.raises(decode.UnusableImage, match=r"case\.png") as caught:
                decode.decode(tmp_path / "case.png")
            assert caught.value.reason == reason

    save(tmp_path / "wide.png", np.zeros((128, 256), np.uint8))
    save(tmp_path / "tiny.png", np.zeros((63, 63), np.uint8))
    for name, reason in (
        ("wide", "not square"),
        ("tiny", "smaller than 64 px"),
        ("none", "missing"),
    ):
        with pytest.raises(decode.UnusableImage, match=name) as caught:
            decode.decode(tmp_path / f"{name}.png")
        assert caught.value.reason == reason
    save(tmp_path / "least.png", np.zeros((64, 64), np.uint8))
    assert decode.decode(tmp_path / "least.png")[0].shape == (64, 64)


def test_a_large_original_is_no_bomb(tmp_path: Path):
    save(tmp_path / "large.png", np.full((3000, 3000), 9, np.uint8))
    assert decode.decode(tmp_path / "large.png")[0].shape == (3000, 3000)


def test_shrink_takes_means_and_keeps_what_fits():
    blocks = np.array([[0, 100, 8, 8], [0, 100, 8, 10], [1, 1, 255, 255], [1, 2, 255, 255]], np.uint8)
    # means 50, 8.5, 1.25, 255; half rounds up
    assert decode.shrink(blocks, 2).tolist() == [[50, 9], [1, 255]]
    same = picture(3, 64)
    assert decode.shrink(same, 64) is same
    flat = np.full((100, 100), 77, np.uint8)
    for side in (32, 64, 200):
        assert (decode.shrink(flat, side) == 77).all()
    ramp = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
    shrunk = decode.shrink(ramp, 32).astype(float)
    assert abs(shrunk.mean() - ramp.mean()) < 1
    np.testing.assert_allclose(shrunk[0], (np.arange(32) + 0.5) * 100 / 32 - 0.5, atol=1)


def test_digest_is_of_pixels_and_shape():
    pixels = picture(1, 64)
    assert decode.digest_of(pixels) == decode.digest_of(pixels.copy())
    assert len(decode.digest_of(pixels)) == 16
    assert decode.digest_of(pixels) != decode.digest_of(pixels.reshape(32, 128))
    other = pixels.copy()
    other[5, 5] ^= 1
    assert decode.digest_of(pixels) != decode.digest_of(other)


# ---- the store


def test_store_holds_the_shrunk_pixels_at_both_sides(root: Path, tmp_path: Path, decoded: list[str]):
    index = update(root, tmp_path / "store", boxed="ce")
    assert sorted(decoded) == [f"{name}.png" for name in "abcdef"]  # one decode serves both sides
    assert list(index.columns) == list(image_index.INDEX_COLUMNS)
    assert index["image"].tolist() == [f"{name}.png" for name in "abcdef"]
    assert index["row"].tolist() == [0, 1, 2, 3, 4, 5]
    assert index["box_row"].tolist() == [-1, -1, 0, -1, 1, -1]
    assert (index["width"] == 128).all() and (index["mode"] == "L").all()
    assert_pixels_are_those_of_the_files(root, tmp_path / "store", index, "ce")


def test_index_survives_its_file(root: Path, tmp_path: Path):
    (root / "zero.png").touch()
    index = update(root, tmp_path / "store", boxed="a")
    index.to_csv(tmp_path / "index.csv", index=False)
    back = image_index.read_index(tmp_path / "index.csv")
    assert back["digest"].tolist() == [*index["digest"][:6], ""]
    pd.testing.assert_frame_equal(back, index, check_categorical=False)
    with pytest.raises(InputError, match=r"absent\.csv"):
        image_index.read_index(tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("image,label\n")
    with pytest.raises(InputError, match=r"other\.csv"):
        image_index.read_index(tmp_path / "other.csv")


def test_only_new_images_are_decoded(root: Path, tmp_path: Path, decoded: list[str]):
    store = tmp_path / "store"
    before = update(root, store)
    decoded.clear()
    assert update(root, store).equals(before)
    assert decoded == []

    save(root / "bb.png", picture(20))
    after = update(root, store)
    assert decoded == ["bb.png"]
    assert after.set_index("image")["row"].to_dict() == {
        **before.set_index("image")["row"].to_dict(),
        "bb.png": 6,
    }
    assert_pixels_are_those_of_the_files(root, store, after)


def test_touched_replaced_moved_and_newly_boxed_images(root: Path, tmp_path: Path, decoded: list[str]):
    store = tmp_path / "store"
    rows = update(root, store).set_index("image")["row"].to_dict()
    decoded.clear()

    (root / "images_0" / "a.png").touch()
    save(root / "images_1" / "b.png", picture(30))
    (root / "images_0" / "c.png").rename(root / "c.png")
    index = update(root, store, boxed="d")
    assert sorted(decoded) == ["a.png", "b.png", "c.png", "d.png"]
    assert index.set_index("image")["row"].to_dict() == {**rows, "b.png": 6}  # only other pixels get another row
    assert index.set_index("image")["box_row"].to_dict() == {**dict.fromkeys(rows, -1), "d.png": 0}
    assert_pixels_are_those_of_the_files(root, store, index, "d")

    decoded.clear()
    assert update(root, store, boxed="d").equals(index)
    assert decoded == []
    assert update(root, store)["box_row"].eq(-1).all()


def test_equal_pixels_under_two_names_share_a_row(root: Path, tmp_path: Path):
    shutil.copy(root / "images_0" / "a.png", root / "twin.png")
    index = update(root, tmp_path / "store").set_index("image")
    assert index.at["twin.png", "row"] == index.at["a.png", "row"]
    assert (tmp_path / "store" / str(SIZE) / "shard-00000.u8").stat().st_size == 6 * SIZE**2


def test_another_size_is_a_family_of_its_own(root: Path, tmp_path: Path, decoded: list[str]):
    store = tmp_path / "store"
    first = update(root, store, boxed="a")
    shard = store / str(SIZE) / "shard-00000.u8"
    before = shard.read_bytes(), shard.stat().st_mtime_ns
    other = update(root, store, size=64)
    assert image_store.open_store(store, other, 64, "all", print).read(["a.png"]).shape == (1, 64, 64)
    assert (shard.read_bytes(), shard.stat().st_mtime_ns) == before
    decoded.clear()
    assert update(root, store, boxed="a").equals(first)
    assert decoded == []


def test_one_size_for_both_purposes_is_stored_once(root: Path, tmp_path: Path):
    index = update(root, tmp_path / "store", boxed="bd", size=BOX_SIZE)
    boxed = index[index["box_row"] >= 0]
    assert boxed["image"].tolist() == ["b.png", "d.png"]
    assert boxed["row"].tolist() == boxed["box_row"].tolist()


def test_unusable_images_are_listed_and_tried_again(root: Path, tmp_path: Path, decoded: list[str]):
    store = tmp_path / "store"
    whole = (root / "images_0" / "a.png").read_bytes()
    (root / "half.png").write_bytes(whole[: len(whole) // 2])
    (root / "zero.png").touch()
    save(root / "wide.png", np.zeros((100, 200), np.uint8))
    paths = first(image_files.find_images(root)[0])
    paths["gone.png"] = "gone.png"
    index = image_cache.update_store(
        root, paths, {"half.png"}, image_cache.ImageCache(store, SIZE, BOX_SIZE), workers=2, progress=quiet
    )
    bad = index[index["status"] != "ok"]
    assert dict(zip(bad["image"], bad["status"], strict=True)) == {
        "gone.png": "missing",
        "half.png": "truncated",
        "wide.png": "not square",
        "zero.png": "zero bytes",
    }
    assert (bad[["shard", "row", "box_shard", "box_row"]] == -1).all(axis=None)
    listed = image_files.unusable(index)
    assert listed[["table", "item", "reason"]].values.tolist()[2] == ["images", "wide.png", "not square"]
    assert listed["detail"].tolist() == ["gone.png", "half.png", "wide.png, 200x100", "zero.png"]
    with pytest.raises(InputError, match=r"'half\.png'.*truncated"):
        image_store.open_store(store, index, SIZE, "all", print).read(["a.png", "half.png"])

    decoded.clear()
    (root / "half.png").write_bytes(whole)
    assert update(root, store).set_index("image").at["half.png", "status"] == "ok"
    assert sorted(decoded) == ["half.png", "wide.png", "zero.png"]


def test_workers_do_not_change_a_byte(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "SHARD_IMAGES", 4)
    for seed in range(20):
        save(root / f"more{seed}.png", picture(100 + seed))
    one = update(root, tmp_path / "one", boxed="abc", workers=1)
    many = update(root, tmp_path / "many", boxed="abc", workers=5)
    assert one.equals(many)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 7 + 1 + 1  # 26 images at 4 a shard, one shard of boxed ones, the ledger
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "many" / path).read_bytes()


def test_an_interrupted_build_resumes_where_its_last_shard_ended(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
):
    monkeypatch.setattr(ledger, "SHARD_IMAGES", 2)

    def stop_at_five(done: int, total: int, seconds: float) -> None:
        assert total == 6
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update(root, tmp_path / "store", boxed="abe", progress=stop_at_five)
    decoded.clear()
    index = update(root, tmp_path / "store", boxed="abe")
    assert sorted(decoded) == ["e.png", "f.png"]
    assert index.equals(update(root, tmp_path / "whole", boxed="abe"))
    assert_pixels_are_those_of_the_files(root, tmp_path / "store", index, "abe")


def test_a_truncated_or_missing_shard_is_mended_in_place(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
):
    monkeypatch.setattr(ledger, "SHARD_IMAGES", 2)
    store = tmp_path / "store"
    index = update(root, store, boxed="ab")
    with (store / str(SIZE) / "shard-00001.u8").open("r+b") as file:
        file.truncate(SIZE**2 + 10)  # the second image, d.png, is cut
    (store / str(BOX_SIZE) / "shard-00000.u8").unlink()
    decoded.clear()
    assert update(root, store, boxed="ab").equals(index)
    assert sorted(decoded) == ["a.png", "b.png", "d.png"]
    assert_pixels_are_those_of_the_files(root, store, index, "ab")


def test_lost_pixels_of_files_that_changed_are_forgotten(root: Path, tmp_path: Path):
    store = tmp_path / "store"
    update(root, store)
    (store / str(SIZE) / "shard-00000.u8").unlink()
    (root / "images_0" / "c.png").unlink()
    save(root / "images_1" / "d.png", picture(40))
    index = update(root, store)
    assert index["image"].tolist() == ["a.png", "b.png", "d.png", "e.png", "f.png"]
    assert_pixels_are_those_of_the_files(root, store, index)


def test_lost_pixels_of_a_file_that_changed_without_a_trace_are_not_mended_from_it(root: Path, tmp_path: Path):
    store = tmp_path / "store"
    update(root, store)
    (store / str(SIZE) / "shard-00000.u8").unlink()
    path = root / "images_0" / "c.png"
    before = path.stat()
    save(path, picture(2)[::-1])
    with path.open("ab") as file:
        file.write(bytes(before.st_size - path.stat().st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    index = update(root, store)
    assert index["row"].tolist() == [0, 1, 6, 3, 4, 5]
    assert_pixels_are_those_of_the_files(root, store, index)


def test_a_reader_mends_what_was_lost_since_and_says_so(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
):
    monkeypatch.setattr(ledger, "SHARD_IMAGES", 2)
    store = tmp_path / "store"
    index = update(root, store, boxed="ab")
    with (store / str(SIZE) / "shard-00001.u8").open("r+b") as file:
        file.truncate(SIZE**2 + 10)  # the second image, d.png, is cut
    (store / str(BOX_SIZE) / "shard-00000.u8").unlink()
    decoded.clear()
    told: list[str] = []
    image_store.open_store(store, index, SIZE, "all", told.append)
    image_store.open_store(store, index, BOX_SIZE, "boxed", told.append)
    assert sorted(decoded) == ["a.png", "b.png", "d.png"]
    assert [line.split(" are lost")[0] for line in told] == [f"1 images of {SIZE} px", f"2 images of {BOX_SIZE} px"]
    assert_pixels_are_those_of_the_files(root, store, index, "ab")
    assert update(root, store, boxed="ab").equals(index)


def test_lost_pixels_that_no_file_can_restore_are_an_error(root: Path, tmp_path: Path):
    store = tmp_path / "store"
    index = update(root, store)
    (store / str(SIZE) / "shard-00000.u8").unlink()
    for path in root.rglob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"shard-00000\.u8.*holds 0 images.*run again"):
        image_store.open_store(store, index, SIZE, "all", print)


def test_a_mending_cut_short_is_noticed(root: Path, tmp_path: Path):
    store = tmp_path / "store"
    index = update(root, store)
    (store / str(SIZE) / "shard-00000.u8").unlink()

    def stop_at_three(done: int, total: int, seconds: float) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update(root, store, progress=stop_at_three)
    assert update(root, store).equals(index)
    assert_pixels_are_those_of_the_files(root, store, index)


def test_progress_counts_what_is_decoded(root: Path, tmp_path: Path):
    told: list[tuple[int, int, float]] = []
    update(root, tmp_path / "store", progress=lambda *counts: told.append(counts))
    assert [counts[:2] for counts in told] == [(done, 6) for done in range(1, 7)]
    seconds = [counts[2] for counts in told]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    told.clear()
    update(root, tmp_path / "store", progress=lambda *counts: told.append(counts))
    assert told == []


def test_a_store_that_cannot_be_written_is_an_error_that_names_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/store: cannot write"):
        update(root, tmp_path / "file" / "store")

    store = tmp_path / "store"
    index = update(root, store)
    save(root / "new.png", picture(50))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_store.os, "fsync", full)
    with pytest.raises(InputError, match=r"store: cannot write .*No space left"):
        update(root, store)
    monkeypatch.undo()
    assert_pixels_are_those_of_the_files(root, store, index)  # what was there is untouched
    assert update(root, store)["row"].max() == 6


def test_two_runs_do_not_write_one_store_at_once(root: Path, tmp_path: Path):
    update(root, tmp_path / "store")
    with (tmp_path / "store" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another run is writing"):
            update(root, tmp_path / "store")
    update(root, tmp_path / "store")


def test_a_damaged_ledger_is_an_error_that_says_what_to_delete(root: Path, tmp_path: Path):
    for number, content in enumerate(("nonsense\n", "", "\0\0")):
        store = tmp_path / f"store{number}"
        store.mkdir()
        (store / "ledger.csv").write_text(content)
        with pytest.raises(InputError, match=rf"ledger\.csv: .*delete the folder .*store{number}"):
            update(root, store)


def test_reading_an_unknown_image_names_it(root: Path, tmp_path: Path):
    index = update(root, tmp_path / "store", boxed="a")
    with pytest.raises(InputError, match=r"'z\.png'.*not in the index"):
        image_store.open_store(tmp_path / "store", index, SIZE, "all", print).read(["a.png", "z.png"])
    with pytest.raises(InputError, match=r"'b\.png' is not stored at 128 px"):
        image_store.open_store(tmp_path / "store", index, BOX_SIZE, "boxed", print).read(["b.png"])
    assert image_store.open_store(tmp_path / "store", index, SIZE, "all", print).read([]).shape == (0, SIZE, SIZE)


def test_reading_repeats_orders_and_returns_a_copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "SHARD_IMAGES", 2)
    index = update(root, tmp_path / "store")
    store = image_store.open_store(tmp_path / "store", index, SIZE, "all", print)
    f, a, f_again = store.read(["f.png", "a.png", "f.png"])
    np.testing.assert_array_equal(f, decode.shrink(picture(5), SIZE))
    np.testing.assert_array_equal(a, decode.shrink(picture(0), SIZE))
    f_again[:] = 0
    np.testing.assert_array_equal(store.read(["f.png"])[0], f)


def test_decoding_runs_in_as_many_threads_as_asked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    together = threading.Barrier(3, timeout=20)  # breaks unless three files are decoded at the same time
    plain = decode.decode

    def meeting(path: Path) -> tuple[np.ndarray, str, png.Facts]:
        together.wait()
        return plain(path)

    monkeypatch.setattr(image_cache, "decode", meeting)
    assert (update(root, tmp_path / "store", workers=3)["status"] == "ok").all()


def test_the_release_sized_index_is_light(tmp_path: Path):
    count = 112_120
    names = [f"{number // 4:08d}_{number % 4:03d}.png" for number in range(count)]
    position = np.arange(count)
    columns = {
        "image": names,
        "path": [f"images_001/images/{name}" for name in names],
        "shard": position // 1024,
        "row": position % 1024,
        "checksum": [f"{number:016x}" for number in range(1, count + 1)],
        "box_shard": -1,
        "box_row": -1,
        "box_checksum": "",
        "width": 1024,
        "height": 1024,
        "mode": "L",
        "digest": [f"{number:016x}" for number in range(count)],
        "status": "ok",
        "depth": 8,
        "stated": 0,
        "peak": 0,
        "bits": 0,
        "orientation": 1,
    }
    pd.DataFrame(columns).to_csv(tmp_path / "index.csv", index=False)
    index = image_index.read_index(tmp_path / "index.csv")
    assert len(index) == count
    assert index.memory_usage(deep=True).sum() < 100e6


# ---- damage


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def flip(path: Path, place: int) -> None:
    overwrite(path, place, bytes([path.read_bytes()[place] ^ 1]))


def swap(path: Path, row: int) -> None:
    content = path.read_bytes()
    overwrite(path, 0, content[row : 2 * row] + content[:row])


HARMS = {
    "flipped bit": (lambda shard, row: flip(shard, 2 * row + 7), "c"),
    "zeroed half": (lambda shard, row: overwrite(shard, 3 * row, bytes(3 * row)), "def"),
    "swapped": (swap, "ab"),
    "cut within a row": (lambda shard, row: os.truncate(shard, 4 * row + 5), "ef"),
    "cut and damaged": (lambda shard, row: (flip(shard, 3), os.truncate(shard, 5 * row)), "af"),
    "gone": (lambda shard, row: shard.unlink(), "abcdef"),
}


@pytest.mark.parametrize("opened", [False, True], ids=["before the store is opened", "while it is open"])
@pytest.mark.parametrize("side", [SIZE, BOX_SIZE])
@pytest.mark.parametrize(("harm", "damaged"), HARMS.values(), ids=HARMS)
def test_damaged_pixels_are_decoded_again_in_their_places_and_that_is_told(
    root: Path, tmp_path: Path, decoded: list[str], harm, damaged: str, side: int, opened: bool
):
    store, kind = tmp_path / "store", {SIZE: "all", BOX_SIZE: "boxed"}[side]
    index = update(root, store, boxed="abcdef")
    shard = store / str(side) / "shard-00000.u8"
    before, told = shard.read_bytes(), []
    reader = image_store.open_store(store, index, side, kind, told.append)
    decoded.clear()
    harm(shard, side**2)
    if not opened:
        reader = image_store.open_store(store, index, side, kind, told.append)
    pixels = reader.read(index["image"].tolist())
    np.testing.assert_array_equal(pixels, [decode.shrink(picture(seed), side) for seed in range(6)])
    assert sorted(decoded) == [f"{name}.png" for name in damaged]
    assert shard.read_bytes() == before
    assert sum(int(line.split()[0]) for line in told) == len(damaged)
    assert all(f"of {side} px are " in line and "the image cache: decoding them again" in line for line in told)
    assert update(root, store, boxed="abcdef").equals(index)


def test_damage_is_mended_as_a_whole_whatever_is_read(root: Path, tmp_path: Path):
    store, told = tmp_path / "store", []
    index = update(root, store)
    shard = store / str(SIZE) / "shard-00000.u8"
    before = shard.read_bytes()
    overwrite(shard, 0, bytes(5 * SIZE**2))
    image_store.open_store(store, index, SIZE, "all", told.append).read(["b.png"])
    assert told == [f"5 images of {SIZE} px are damaged in the image cache: decoding them again"]
    assert shard.read_bytes() == before


def test_what_another_process_has_mended_meanwhile_is_not_decoded_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
):
    store, told = tmp_path / "store", []
    index = update(root, store)
    one, other = (image_store.open_store(store, index, SIZE, "all", told.append) for _ in range(2))
    plain = image_store._mend

    def late(*arguments) -> None:
        monkeypatch.setattr(image_store, "_mend", plain)
        other.read(["c.png"])
        monkeypatch.setattr(image_store, "Building", None)  # nothing is built, and the ledger stays
        plain(*arguments)

    monkeypatch.setattr(image_store, "_mend", late)
    flip(store / str(SIZE) / "shard-00000.u8", 2 * SIZE**2)
    decoded.clear()
    np.testing.assert_array_equal(one.read(["c.png"])[0], decode.shrink(picture(2), SIZE))
    assert decoded == ["c.png"] and len(told) == 1


@pytest.mark.parametrize("trace", [True, False], ids=["another size", "same size and time"])
def test_damaged_pixels_of_a_file_that_changed_are_an_error_that_says_what_to_do(
    root: Path, tmp_path: Path, trace: bool
):
    store = tmp_path / "store"
    index = update(root, store)
    flip(store / str(SIZE) / "shard-00000.u8", 2 * SIZE**2)
    path = root / "images_0" / "c.png"
    before = path.stat()
    save(path, picture(2)[::-1])
    with path.open("ab") as file:
        file.write(bytes(max(0, before.st_size - path.stat().st_size) + trace))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size == before.st_size) != trace
    reader = image_store.open_store(store, index, SIZE, "all", print)
    message = (
        r"32/shard-00000\.u8: the pixels of image 'c\.png' .*row 2.*images_0/c\.png has changed, .*; delete the index"
    )
    with pytest.raises(InputError, match=message):
        reader.read(["a.png", "c.png"])
    assert_pixels_are_those_of_the_files(root, store, update(root, store))


def test_damaged_pixels_whose_file_is_gone_are_an_error_and_the_others_are_read(root: Path, tmp_path: Path):
    store = tmp_path / "store"
    index = update(root, store)
    overwrite(store / str(SIZE) / "shard-00000.u8", 0, bytes(SIZE**2 * 2))
    (root / "images_0" / "a.png").unlink()
    reader = image_store.open_store(store, index, SIZE, "all", print)
    np.testing.assert_array_equal(reader.read(["b.png"])[0], decode.shrink(picture(1), SIZE))
    with pytest.raises(InputError, match=r"image 'a\.png'"):
        reader.read(["b.png", "a.png"])
    assert decode.digest_of(picture(0)) not in ledger.load(store / "ledger.csv").of_side(SIZE)
    save(root / "again.png", picture(0))
    assert_pixels_are_those_of_the_files(root, store, update(root, store))


def test_pixels_that_would_be_other_ones_today_are_not_put_in_the_place_of_damaged_ones(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another version of a library may shrink otherwise; the index's jobs would then read two kinds of pixels."""
    store = tmp_path / "store"
    index = update(root, store)
    shard = store / str(SIZE) / "shard-00000.u8"
    flip(shard, 2 * SIZE**2)
    harmed = shard.read_bytes()
    plain = decode.shrink
    monkeypatch.setattr(image_cache, "shrink", lambda pixels, side: plain(pixels, side) ^ 1)
    with pytest.raises(InputError, match=r"image 'c\.png'"):
        image_store.open_store(store, index, SIZE, "all", print).read(["c.png"])
    assert shard.read_bytes() == harmed
    assert update(root, store)["row"].tolist() == [0, 1, 6, 3, 4, 5]


def test_a_row_is_compared_with_its_checksum_once_in_a_process(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    index = update(root, tmp_path / "store")
    reader = image_store.open_store(tmp_path / "store", index, SIZE, "all", print)
    plain, compared = checksums.of_row, []
    monkeypatch.setattr(checksums, "of_row", lambda row: compared.append(row) or plain(row))
    for names in (["a.png", "b.png"], ["b.png", "c.png"], ["a.png", "c.png"]):
        reader.read(names)
    assert len(compared) == 3


def test_index_and_ledger_hold_the_checksums_of_what_is_stored(root: Path, tmp_path: Path):
    (root / "zero.png").touch()
    index = update(root, tmp_path / "store", boxed="a").set_index("image")
    for seed, name in enumerate("abcdef"):
        assert index.at[f"{name}.png", "checksum"] == checksums.of_row(decode.shrink(picture(seed), SIZE))
    assert index.at["a.png", "box_checksum"] == checksums.of_row(picture(0))
    assert (index["box_checksum"] == "").sum() == 6 and index.at["zero.png", "checksum"] == ""
    places = ledger.load(tmp_path / "store" / "ledger.csv").of_side(SIZE)
    assert {place.checksum for place in places.values()} == set(index["checksum"]) - {""}


def test_a_store_of_an_earlier_version_is_built_anew_over_the_former(root: Path, tmp_path: Path, decoded: list[str]):
    store = tmp_path / "store"
    index = update(root, store, boxed="a")
    path = store / "ledger.csv"
    assert not ledger.of_earlier_version(path) and not ledger.of_earlier_version(store / "none.csv")
    for header in ledger.EARLIER:
        rows = pd.read_csv(path, keep_default_na=False, skipfooter=1, engine="python")
        rows[header].to_csv(path, index=False)
        assert ledger.of_earlier_version(path)
        overwrite(store / str(SIZE) / "shard-00000.u8", 0, bytes(SIZE**2))
        decoded.clear()
        assert update(root, store, boxed="a").equals(index)
        assert len(decoded) == 6
        assert_pixels_are_those_of_the_files(root, store, index, "a")


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text.replace(",128,128,", ",129,128,", 1),
        lambda text: text[: text.rindex("\r\n", 0, len(text) // 2) + 2],
        lambda text: text[: len(text) // 2],
        lambda text: text[:-1],
    ],
    ids=["another width", "half of the lines", "half", "a letter less"],
)
def test_a_ledger_that_is_not_as_it_was_written_is_an_error(root: Path, tmp_path: Path, harm):
    update(root, tmp_path / "store")
    path = tmp_path / "store" / "ledger.csv"
    text = path.read_bytes().decode()
    assert harm(text) != text
    path.write_bytes(harm(text).encode())
    with pytest.raises(InputError, match=r"ledger\.csv: not readable .*delete the folder"):
        update(root, tmp_path / "store")


# ---- real files


def test_real_files_decode_the_rgba_ones_too(nih_sample: Path, tmp_path: Path):
    root = nih_sample / "full"
    found, rejected = image_files.find_images(root)
    paths = first(found)
    assert len(paths) == 127 and rejected.empty
    with_alpha = [path for path in paths.values() if Image.open(root / path).mode == "RGBA"]
    assert len(with_alpha) == 8
    chosen = {path: path for path in with_alpha}
    cache = image_cache.ImageCache(tmp_path, 224, 1024)
    index = image_cache.update_store(root, chosen, {}, cache, workers=2, progress=quiet)
    assert (index["status"] == "ok").all() and (index["mode"] == "RGBA").all() and (index["width"] == 1024).all()
    pixels = image_store.open_store(tmp_path, index, 224, "all", print).read(with_alpha)
    assert (pixels.std(axis=(1, 2)) > 20).all()  # a chest, not a flat alpha plane


def test_a_folder_with_both_samples_lists_the_common_names(nih_sample: Path):
    paths, rejected = image_files.find_images(nih_sample)
    assert rejected.empty
    common = {path.name for path in (nih_sample / "full").iterdir()} & {
        path.name for path in (nih_sample / "half").iterdir()
    }
    assert common == {name for name, several in paths.items() if len(several) > 1} != set()
    assert all(paths[name] == [f"full/{name}", f"half/{name}"] for name in common)
