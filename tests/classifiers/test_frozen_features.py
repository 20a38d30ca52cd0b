"""Shared features: the pictures a grid needs, and a tail that trains as the whole network does."""

import copy
import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cxr.classifiers import frozen_features
from cxr.classifiers.fit import sigmoid_objective
from cxr.classifiers.networks import Tail, TransferClassifier, frozen_stages
from cxr.errors import InputError
from cxr.runtime import checksums
from cxr.runtime.journal import Journal
from cxr.settings import Augment, Schedule
from cxr.training.batches import Stream, positions
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device, choose
from cxr.training.loop import infer, judge
from cxr.training.resnet import resnet
from cxr.training.runs import plain

SIDE = 96
AUGMENT = Augment(horizontal_flip=0.5, rotation=7, zoom=0.1, brightness=0.15)
SCHEDULE = Schedule(epochs=2, steps=10, batch=8)


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return {f"{number:02d}.png": random.integers(0, 255, (SIDE, SIDE), dtype=np.uint8) for number in range(12)}


@pytest.fixture(scope="module")
def source():
    """A ResNet50 whose batch norms hold plausible statistics."""
    torch.manual_seed(0)
    network = resnet("resnet50", 20)
    network.train()
    with torch.no_grad():
        for _ in range(6):
            network(torch.randn(8, 3, SIDE, SIDE))
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def build(source, layers, head_input="logits"):
    torch.manual_seed(1)
    backbone = resnet("resnet50", 20)
    backbone.load_state_dict(source)
    return TransferClassifier(backbone, layers, 15, head_input, "eval").to(memory_format=torch.channels_last)


def reader(pictures):
    return lambda names: np.stack([pictures[name] for name in names])


def stored(
    pictures,
    source,
    folder,
    device,
    budget=10.0,
    sets=None,
    depths=(0, 1, 7, 13, 19),
    digests=None,
    read=None,
    belongs_to="test",
):
    """Bring the store of a small grid up to date; return the grid's sets. source: weights of a ResNet50, or a network."""
    sets = sets or {"8": list(pictures)[:8], "5": list(pictures)[3:8]}
    backbone = source
    if isinstance(source, dict):
        backbone = resnet("resnet50", 20)
        backbone.load_state_dict(source)
    with Journal(folder / "log", "features") as tell:
        frozen_features.compute(
            backbone,
            images=frozen_features.GridImages(
                [(names, 0) for names in sets.values()], list(pictures)[8:], digests or dict.fromkeys(pictures, "a")
            ),
            pixels=SimpleNamespace(read=read or reader(pictures), side=SIDE),
            grid=frozen_features.Grid(depths, SCHEDULE, AUGMENT, budget), belongs_to=belongs_to,
            store=folder / "store.json", run=plain(3, device, tell, Keeper(folder / "state", "key", 0.0, tell)),
        )  # fmt: skip
    return sets


def losses(network, stream, objective, device, steps=20):
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.002, momentum=0.9)
    network.train()
    found = []
    for step in range(steps):
        inputs, targets = stream(step)
        with device.autocast():
            outputs = network(inputs)
        loss = objective.loss(outputs.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.array(found)


def test_the_union_holds_every_visit_of_every_size_and_no_more():
    eight, five = [f"{n}" for n in range(8)], [f"{n}" for n in range(5)]
    sets = [(eight, 0), (five, 0), (five, 1), (five[::-1], 2)]
    table = frozen_features.visits_needed(sets, SCHEDULE, 3).set_index("image")
    seen = {}
    for names, repeat in sets:
        for step in range(20):
            for index, visit in zip(*positions(len(names), 8, step, 3 + repeat), strict=True):
                seen[names[index]] = max(seen.get(names[index], 0), int(visit) + 1)
    assert table["visits"].to_dict() == seen


@pytest.mark.parametrize(
    ("layers", "stage"), [(0, "pooled"), (1, "pooled"), (2, "layer4.1"), (7, "layer4.1"), (8, "layer4.0"),
                          (13, "layer4.0"), (14, "layer3.5"), (19, "layer3.5"), (20, "layer3.5"), (107, None)]
)  # fmt: skip
def test_the_frozen_part_ends_in_front_of_the_first_trained_layer(layers, stage):
    found = frozen_stages(resnet("resnet50", 10), layers)
    assert (found[-1] if found else None) == stage


bfloat16 = pytest.mark.skipif(not choose("auto", 1).bfloat16, reason="this processor has no bfloat16 instructions")


@pytest.mark.parametrize("layers", [0, 1, 7, 13, 19])
@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 1e-5), pytest.param(True, 2e-2, marks=bfloat16)])
def test_a_tail_on_stored_features_has_the_losses_of_the_whole_network(
    pictures, source, tmp_path, layers, bfloat16, tolerance
):
    device = Device(torch.device("cpu"), bfloat16)
    sets = stored(pictures, source, tmp_path, device)
    names = sets["8"]
    targets = (np.random.default_rng(5).random((len(names), 15)) < 0.2).astype(np.float32)
    objective = sigmoid_objective(targets.mean(0), balanced=True)
    whole = build(source, layers)
    expected = losses(whole, Stream(names, reader(pictures), targets, AUGMENT, 8, 3, device.torch), objective, device)
    tail = build(source, layers)
    stage, found = frozen_features.open_nearest(tmp_path / "store.json", tail.shared, device)
    assert stage == tail.shared[-1]
    stream = frozen_features.FeatureStream(names, found, targets, 8, 3, device.torch)
    actual = losses(Tail(tail, stage), stream, objective, device)
    np.testing.assert_allclose(actual, expected, rtol=tolerance)
    assert np.ptp(expected) > 0.001, "the losses move"
    if not bfloat16:
        whole.eval(), tail.eval()
        fixed = list(pictures)[8:]
        images = torch.from_numpy(reader(pictures)(fixed)).unsqueeze(1).float() / 255
        with torch.no_grad():
            one, other = whole(images), tail.tail(found.of_fixed(fixed), stage)
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


DEPTHS = (0, 2, 9)


@pytest.fixture(scope="module")
def small():
    """A narrow network, whose frozen part ends at pooled, layer3.0 or layer2.0 for the depths above."""
    torch.manual_seed(0)
    return resnet("resnet10", 20)


@pytest.mark.parametrize("layers", [0, 2])
def test_features_stored_in_bfloat16_are_predicted_from_in_float32(pictures, small, tmp_path, layers):
    """On a processor without bfloat16 instructions, too: the network is narrow."""
    device, some = Device(torch.device("cpu"), True), {"5": list(pictures)[:5]}
    stored(pictures, small, tmp_path, device, sets=some, depths=[0, 2])
    model = TransferClassifier(copy.deepcopy(small), layers, 15, "features", "eval")
    stage, found = frozen_features.open_nearest(tmp_path / "store.json", model.shared, device)
    assert stage == model.shared[-1]
    fixed, objective = list(pictures)[8:], sigmoid_objective(np.full(15, 0.1), balanced=False)
    together = infer(Tail(model, stage), fixed, found.of_fixed, objective, device)
    alone = infer(Tail(model, stage), fixed[-1:], found.of_fixed, objective, device)
    assert np.array_equal(alone[0], together[-1])
    np.testing.assert_allclose(together, infer(model, fixed, reader(pictures), objective, device), atol=0.02)
    rounded, _ = judge(Tail(model, stage), fixed, found.of_fixed, objective, device, np.zeros_like(together))
    assert not np.array_equal(rounded, together), "judging after an epoch is in the arithmetic of training"


class Counting:
    """Reads pictures and counts what was asked for; with the call number `stop` the process is asked to stop."""

    def __init__(self, pictures, stop=None):
        self.read, self.asked, self.stop = reader(pictures), [], stop

    def __call__(self, names):
        self.asked.append(list(names))
        if len(self.asked) == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.read(names)


def numbers_of(folder, names, stage="layer3.0"):
    """What a store holds of the first visit of images, and of the judged images."""
    _, found = frozen_features.open_nearest(folder / "store.json", [stage], Device(torch.device("cpu"), False))
    return found.at(found.places(names)[:, 0]), found.of_fixed(["08.png", "09.png"])


def test_a_further_size_and_depth_compute_what_is_missing_alone(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    first = {"5": list(pictures)[3:8]}
    counted = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=first, depths=[0, 2], read=counted)
    before = numbers_of(tmp_path, first["5"])
    again = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=first, depths=[0, 2], read=again)
    assert counted.asked and not again.asked, "nothing is missing"
    sets = first | {"6": list(pictures)[2:8]}
    more = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=sets, depths=[0, 2], read=more)
    assert {name for names in more.asked for name in names} == {"02.png"}, (
        "the others have more visits in the smaller set"
    )
    for one, other in zip(before, numbers_of(tmp_path, first["5"]), strict=True):
        assert torch.equal(one, other)
    deeper = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=sets, depths=[0, 2, 9], read=deeper)
    assert deeper.asked and frozen_features.open_nearest(tmp_path / "store.json", ["layer2.0"], device) is not None
    alone = tmp_path / "alone"
    alone.mkdir()
    stored(pictures, small, alone, device, sets=sets, depths=[0, 2, 9])
    for stage in ("pooled", "layer3.0", "layer2.0"):
        for one, other in zip(numbers_of(tmp_path, sets["6"], stage), numbers_of(alone, sets["6"], stage), strict=True):
            assert torch.equal(one, other), "the same as computed at once"


def test_an_interrupted_store_goes_on_and_a_replaced_image_is_computed_anew(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    with pytest.raises(SystemExit):
        stored(pictures, small, tmp_path, device, depths=DEPTHS, read=Counting(pictures, stop=5))
    assert not (tmp_path / "store.json").exists()
    rest = Counting(pictures)
    sets = stored(pictures, small, tmp_path, device, depths=DEPTHS, read=rest)
    alone = tmp_path / "alone"
    alone.mkdir()
    whole = Counting(pictures)
    stored(pictures, small, alone, device, depths=DEPTHS, read=whole)
    assert len(rest.asked) == len(whole.asked) - 5
    for one, other in zip(numbers_of(tmp_path, sets["8"]), numbers_of(alone, sets["8"]), strict=True):
        assert torch.equal(one, other)
    changed = pictures | {"03.png": 255 - pictures["03.png"]}
    anew = Counting(changed)
    stored(
        changed,
        small,
        tmp_path,
        device,
        digests=dict.fromkeys(pictures, "a") | {"03.png": "b"},
        depths=DEPTHS,
        read=anew,
    )
    assert {name for names in anew.asked for name in names} == {"03.png"}
    old, new = numbers_of(alone, sets["8"])[0], numbers_of(tmp_path, sets["8"])[0]
    same = [torch.equal(one, other) for one, other in zip(old, new, strict=True)]
    assert same == [name != "03.png" for name in sets["8"]]


def test_a_missing_picture_is_told_and_the_next_run_looks_for_it(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    stored(pictures, small, tmp_path, device, depths=[0], sets={"5": list(pictures)[3:8]})
    _, found = frozen_features.open_nearest(tmp_path / "store.json", ["pooled"], device)
    description = (tmp_path / "store.json").read_text()
    with pytest.raises(InputError, match=r"not among the stored features\. Run the same command again"):
        frozen_features.FeatureStream(["00.png"], found, np.zeros((1, 15), np.float32), 4, 3, device.torch)(0)
    assert not (tmp_path / "store.json").exists()
    (tmp_path / "store.json").write_text(description)
    with pytest.raises(InputError, match="not among the stored features"):
        found.of_fixed(["00.png"])
    assert not (tmp_path / "store.json").exists()


def test_other_weights_settings_or_code_share_nothing(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    stored(pictures, small, tmp_path, device, depths=[0])
    one = json.loads((tmp_path / "store.json").read_text())["key"]
    stored(pictures, small, tmp_path, device, depths=[0], belongs_to="other code")
    assert json.loads((tmp_path / "store.json").read_text())["key"] != one
    assert not (tmp_path / one).exists(), "a store that nothing can read any more takes no room"


def test_places_are_kept_reused_and_added():
    def of(*rows):
        return pd.DataFrame(rows, columns=frozen_features.KEY)

    held = of(("a", "1", 0), ("a", "1", 1), ("b", "1", -1)).assign(pooled=["0a", "0b", "0c"])
    wanted = of(("c", "1", 0), ("a", "1", 0), ("d", "1", -1), ("b", "1", -1), ("b", "1", 0))
    found = frozen_features.placed(held, wanted, ["pooled", "stem"])
    assert found[frozen_features.KEY].values.tolist() == [
        ["a", "1", 0], ["c", "1", 0], ["b", "1", -1], ["d", "1", -1], ["b", "1", 0]
    ]  # fmt: skip
    assert found["pooled"].tolist() == ["0a", "", "0c", "", ""] and (found["stem"] == "").all()


def sizes_in_gb(rows=68_000, side=224, bytes_each=2):
    shapes = {"pooled": 2048, "layer4.1": 2048 * 49, "layer4.0": 2048 * 49, "layer3.5": 1024 * 196}
    return {name: rows * count * bytes_each / 1e9 for name, count in shapes.items()}


@pytest.mark.parametrize(
    ("budget", "chosen"),
    [
        (60, ["layer3.5", "layer4.0", "layer4.1", "pooled"]),
        (
            40,
            ["layer3.5", "pooled"],
        ),  # one early stage serves all deeper ones better than two late ones of the same size
        (20, ["layer4.0", "pooled"]),
        (1, ["pooled"]),
        (0, []),
    ],
)
def test_a_budget_is_spent_on_what_saves_the_grid_the_most(tmp_path, budget, chosen):
    """The paper's 20 depths and 68,000 pictures at 224 px; sizes by hand."""
    assert sum(sizes_in_gb().values()) > 40 > sizes_in_gb()["layer3.5"] > 20 > sizes_in_gb()["layer4.0"]
    with Journal(tmp_path / "log", "features") as tell:
        found = frozen_features.choose_stages(resnet("resnet50", 10), range(20), 68_000, 224, 2, budget, tell)
    assert list(found) == chosen
    assert ("jobs compute the other frozen layers themselves" in (tmp_path / "log").read_text()) == (budget < 60)


def test_multiplications_are_those_of_the_literature():
    """ResNet50 at 224 px: 4.09 billion, of them 0.81 in the last four blocks' stage (by hand from its layers)."""
    _, work = frozen_features._outputs(resnet("resnet50", 10), 224)
    assert work["pooled"] == pytest.approx(4.087e9, rel=0.002)
    assert work["pooled"] - work["layer3.5"] == pytest.approx(0.81e9, rel=0.01)


def test_a_job_starts_from_the_nearest_stage_that_is_stored(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    sets = stored(pictures, small, tmp_path, device, depths=[9])
    names = sets["8"]
    targets = (np.random.default_rng(5).random((len(names), 15)) < 0.3).astype(np.float32)
    objective = sigmoid_objective(targets.mean(0), balanced=True)

    def model():
        torch.manual_seed(1)
        network = TransferClassifier(copy.deepcopy(small), 2, 15, "features", "eval")
        return network.to(memory_format=torch.channels_last)

    whole, tail = model(), model()
    expected = losses(
        whole, Stream(names, reader(pictures), targets, AUGMENT, 8, 3, device.torch), objective, device, 8
    )
    stage, found = frozen_features.open_nearest(tmp_path / "store.json", tail.shared, device)
    assert stage == "layer2.0" and tail.shared[-1] == "layer3.0"
    stream = frozen_features.FeatureStream(names, found, targets, 8, 3, device.torch)
    np.testing.assert_allclose(losses(Tail(tail, stage), stream, objective, device, 8), expected, rtol=1e-5)
    assert frozen_features.open_nearest(tmp_path / "store.json", [], device) is None
    assert frozen_features.open_nearest(tmp_path / "store.json", ["stem"], device) is None
    assert frozen_features.open_nearest(tmp_path / "store.json", tail.shared, Device(torch.device("cpu"), True)) is None


# ---- damage


@pytest.fixture(scope="module")
def whole_store(pictures, small, tmp_path_factory):
    """A folder with a store of two stages: 5 images of 32 visits each, and 4 that are judged."""
    folder = tmp_path_factory.mktemp("whole")
    fill(pictures, small, folder)
    return folder


@pytest.fixture
def work(whole_store, tmp_path):
    return shutil.copytree(whole_store, tmp_path / "work")


def fill(pictures, small, folder, read=None):
    device = Device(torch.device("cpu"), False)
    stored(pictures, small, folder, device, sets={"5": list(pictures)[3:8]}, depths=[0, 2], read=read)
    return (folder / "log").read_text()


def numbers_file(folder, stage="layer3.0"):
    (path,) = folder.glob(f"*/{stage}.bin")
    return path


def table_of(folder):
    (path,) = folder.glob("*/rows.csv")
    return path


def images_at(folder, places):
    return pd.read_csv(table_of(folder), dtype="str", keep_default_na=False)["image"].iloc[list(places)]


def contents(folder):
    """All that a store holds: (stage, image, visit) → numbers."""
    store = frozen_features.described(folder / "store.json")
    rows = store.table(list(store.shapes))
    return {
        (stage, row.image, row.visit): store.numbers(stage)[row.Index].tobytes()
        for stage in store.shapes
        for row in rows.itertuples()
    }


def read_everything(folder, stage="layer3.0"):
    _, found = frozen_features.open_nearest(folder / "store.json", [stage], Device(torch.device("cpu"), False))
    return found.at(np.arange(len(found.rows)))


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def flip(path, place):
    overwrite(path, place, bytes([path.read_bytes()[place] ^ 4]))


def edit_rows(folder, change):
    """Change the table's rows, as lists of texts, in place."""
    lines = [line.split(",") for line in table_of(folder).read_text().splitlines()]
    change(lines[1:])
    table_of(folder).write_text("".join(",".join(line) + "\n" for line in lines))


def rename_another(rows):
    """Give the row of one picture the name of another one."""
    rows[7][0] = "03.png" if rows[7][0] != "03.png" else "04.png"


def boolean(rows):
    """What the table of an earlier version said."""
    for row in rows:
        row[3:] = ["True"] * len(row[3:])


ROW = 96 * 6 * 6 * 4  # bytes of layer3.0 in float32
ROWS = 164


def swapped(path):
    first, second = path.read_bytes()[:ROW], path.read_bytes()[ROW : 2 * ROW]
    overwrite(path, 0, second + first)


@pytest.mark.parametrize(
    ("harm", "places"),
    [
        (lambda folder: overwrite(numbers_file(folder), 5 * ROW + 4096, bytes(4096)), [5]),
        (lambda folder: overwrite(numbers_file(folder), 5 * ROW, bytes(12 * ROW)), range(5, 17)),
        (lambda folder: flip(numbers_file(folder), 9 * ROW + 3), [9]),
        (lambda folder: swapped(numbers_file(folder)), [0, 1]),
        (lambda folder: os.truncate(numbers_file(folder), 100 * ROW + 10), range(100, ROWS)),
        (lambda folder: numbers_file(folder).unlink(), range(ROWS)),
        (lambda folder: edit_rows(folder, rename_another), [7]),
        (lambda folder: edit_rows(folder, boolean), range(ROWS)),
    ],
    ids=["zeroed block", "zeroed half", "flipped bit", "swapped", "cut short", "gone", "another's name", "of an earlier version"],
)  # fmt: skip
def test_damaged_rows_are_never_used_and_the_next_run_computes_these_alone(pictures, small, work, harm, places):
    before, asked = contents(work), set(images_at(work, places))
    harm(work)
    asked |= set(images_at(work, places))
    with pytest.raises(InputError, match=rf"layer3\.0\.bin: {len(places)} of {ROWS} rows do not match their checksums"):
        read_everything(work)
    assert not (work / "store.json").exists(), "the features job is due again"
    rows = pd.read_csv(table_of(work), dtype="str", keep_default_na=False)
    assert np.flatnonzero(rows["layer3.0"] == "").tolist() == list(places)
    again = Counting(pictures)
    fill(pictures, small, work, again)
    assert {name for names in again.asked for name in names} == asked
    assert len(again.asked) <= len(places) // 8 + 2
    assert contents(work) == before
    read_everything(work)


def test_damage_in_other_stages_is_mended_in_the_same_run(pictures, small, work):
    before = contents(work)
    overwrite(numbers_file(work), 5 * ROW, bytes(ROW))
    overwrite(numbers_file(work, "pooled"), 0, bytes(8))
    with pytest.raises(InputError, match=rf"layer3\.0\.bin: 1 of {ROWS} rows"):
        read_everything(work)
    fill(pictures, small, work)
    assert contents(work) == before
    read_everything(work, "pooled")


def test_a_row_that_was_read_wrongly_once_is_computed_again(pictures, small, work):
    """Memory or a controller may be at fault, and the file look sound at a second look."""
    before = contents(work)
    _, found = frozen_features.open_nearest(work / "store.json", ["layer3.0"], Device(torch.device("cpu"), False))
    numbers = np.array(found.numbers)
    numbers[5, 0, 0, 0] += 1
    with pytest.raises(InputError, match=f"1 of {ROWS} rows do not match their checksums"):
        dataclasses.replace(found, numbers=numbers).at(np.arange(8))
    again = Counting(pictures)
    fill(pictures, small, work, again)
    assert {name for names in again.asked for name in names} == set(images_at(work, [5]))
    assert contents(work) == before


def test_two_jobs_that_meet_the_same_damage_strike_it_once(pictures, small, work):
    before = contents(work)
    _, one = frozen_features.open_nearest(work / "store.json", ["layer3.0"], Device(torch.device("cpu"), False))
    _, other = frozen_features.open_nearest(work / "store.json", ["layer3.0"], Device(torch.device("cpu"), False))
    overwrite(numbers_file(work), 5 * ROW, bytes(2 * ROW))
    with pytest.raises(InputError, match=f"2 of {ROWS} rows do not match their checksums"):
        one.at(np.arange(8))
    struck = table_of(work).read_bytes()
    with pytest.raises(InputError, match="rows do not match their checksums"):
        other.at(np.arange(8))
    assert table_of(work).read_bytes() == struck
    with pytest.raises(InputError, match=r"store\.json: not readable as stored features .*Run the same command again"):
        read_everything(work)
    fill(pictures, small, work)
    assert contents(work) == before


def test_a_further_stage_writes_no_row_that_is_stored(pictures, small, work):
    """A GPU may give other last bits; what finished pairs have read would then be gone. Damage stays visible, too."""
    harmed = bytes(range(256)) * (ROW // 256)
    overwrite(numbers_file(work), 5 * ROW, harmed)
    device = Device(torch.device("cpu"), False)
    stored(pictures, small, work, device, sets={"5": list(pictures)[3:8]}, depths=[0, 2, 9])
    assert numbers_file(work).read_bytes()[5 * ROW : 6 * ROW] == harmed
    with pytest.raises(InputError, match=f"1 of {ROWS} rows do not match their checksums"):
        read_everything(work)


def test_a_row_is_compared_with_its_checksum_once_in_a_process(work, monkeypatch):
    _, found = frozen_features.open_nearest(work / "store.json", ["layer3.0"], Device(torch.device("cpu"), False))
    plain, compared = checksums.of_row, []
    monkeypatch.setattr(checksums, "of_row", lambda row, owner: compared.append(owner) or plain(row, owner))
    for places in ([3, 4], [4, 5, 5], [3, 5]):
        found.at(np.array(places))
    assert len(compared) == len(set(compared)) == 3


@pytest.mark.parametrize(
    ("content", "said", "unsaid"),
    [
        (lambda text: text[: len(text) // 2], "1 rows of pooled have no legible .* are stored already", "everything"),
        (
            lambda text: text[: text.index("\n", len(text) // 2) + 9],
            "1 rows do not name their image.* are stored already",
            "everything",
        ),
        (lambda text: text[: text.index("\n", len(text) // 2) + 1], "pictures are stored already", "damaged"),
        (lambda text: "".join(line.rpartition(",")[0] + "\n" for line in text.splitlines()), "", "stored already"),
        (lambda text: text.replace("visit", "vizit"), "damaged .*everything is computed again", "stored already"),
        (lambda text: "\0" * len(text), "damaged .*everything is computed again", "stored already"),
        (lambda text: "", "damaged .*everything is computed again", "stored already"),
    ],
    ids=["half", "half, and a name", "half of the lines", "a column less", "another header", "zeros", "empty"],
)
def test_a_damaged_table_is_told_and_the_next_run_makes_it_whole(pictures, small, work, content, said, unsaid):
    before = contents(work)
    table_of(work).write_text(content(table_of(work).read_text()))
    with pytest.raises(InputError, match=r"rows\.csv: not readable as stored features .*Run the same command again"):
        read_everything(work, "pooled")
    assert not (work / "store.json").exists()
    text = fill(pictures, small, work)
    assert re.search(said, text, re.S) and unsaid not in text
    assert contents(work) == before
    read_everything(work)


def test_a_damaged_line_of_the_table_costs_its_own_row(pictures, small, work):
    before, asked = contents(work), set(images_at(work, [7, 90]))
    edit_rows(work, lambda rows: (rows[7].__setitem__(2, "1x"), rows[90].__setitem__(4, "12345")))
    with pytest.raises(InputError, match=r"rows\.csv: not readable as stored features"):
        read_everything(work)
    again = Counting(pictures)
    text = fill(pictures, small, work, again)
    assert "rows.csv: 1 rows do not name their image; they are computed again" in text
    assert "rows.csv: 1 rows of pooled have no legible checksum; they are computed again" in text
    assert {name for names in again.asked for name in names} == asked
    assert contents(work) == before
    read_everything(work)


def test_a_table_of_an_earlier_version_is_not_believed(pictures, small, work):
    """It said True where a row was stored."""
    edit_rows(work, boolean)
    again = Counting(pictures)
    text = fill(pictures, small, work, again)
    assert f"{ROWS} rows of layer3.0 have no legible checksum; they are computed again" in text
    assert {name for names in again.asked for name in names} == set(images_at(work, range(ROWS)))
    read_everything(work)


def test_a_table_that_is_gone_is_told_and_made_again(pictures, small, work):
    before = contents(work)
    table_of(work).unlink()
    with pytest.raises(InputError, match=r"rows\.csv: not readable as stored features"):
        read_everything(work)
    fill(pictures, small, work)
    assert contents(work) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_a_damaged_description_is_told_and_costs_no_picture(pictures, small, work, content):
    (work / "store.json").write_text(content)
    with pytest.raises(InputError, match=r"store\.json: not readable as stored features .*Run the same command again"):
        read_everything(work)
    assert not (work / "store.json").exists()
    again = Counting(pictures)
    fill(pictures, small, work, again)
    assert not again.asked


def test_a_file_cut_short_before_the_job_runs_is_told_and_not_filled_with_zeros(pictures, small, work):
    """Nobody has read it since: the job itself compares the sizes."""
    before = contents(work)
    os.truncate(numbers_file(work), 150 * ROW + ROW // 2)
    numbers_file(work, "pooled").unlink()
    again = Counting(pictures)
    text = fill(pictures, small, work, again)
    assert f"layer3.0.bin: holds 150 rows, but rows.csv names {ROWS}; lost rows, computed again: 14" in text
    assert f"pooled.bin: holds 0 rows, but rows.csv names {ROWS}; lost rows, computed again: {ROWS}" in text
    assert contents(work) == before
    read_everything(work)


def test_numbers_are_on_the_disk_before_the_table_says_so(pictures, small, tmp_path, monkeypatch):
    events = []
    plain = {"fsync": os.fsync, "replace": os.replace}

    def fsync(number):
        events.append(("flushed", os.path.basename(os.readlink(f"/proc/self/fd/{number}"))))
        plain["fsync"](number)

    def replace(source, target):
        events.append(("named", os.path.basename(target)))
        plain["replace"](source, target)

    monkeypatch.setattr(frozen_features.os, "fsync", fsync)
    monkeypatch.setattr(frozen_features.os, "replace", replace)
    fill(pictures, small, tmp_path)
    table = [("flushed", "rows.csv.new"), ("named", "rows.csv")]
    events = [event for event in events if not event[1].startswith("state")]
    assert events[:2] == table, "before anything is written to a place, the table says that it is free"
    assert set(events[2:4]) == {("flushed", "layer3.0.bin"), ("flushed", "pooled.bin")}
    assert events[4:6] == events[-2:] == table


# ---- a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def unable(number, offset, length):
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@pytest.mark.parametrize("able", [True, False], ids=["reserved", "a file system that cannot reserve"])
def test_a_full_disk_is_told_with_what_is_needed_and_keeps_what_is_stored(
    pictures, small, whole_store, small_disk, monkeypatch, able
):
    """The store takes 2.4 MB; one of fewer visits lies there already."""
    if not able:
        monkeypatch.setattr(frozen_features.os, "posix_fallocate", unable)
    with monkeypatch.context() as patched:
        patched.setitem(globals(), "SCHEDULE", Schedule(epochs=2, steps=2, batch=8))
        fill(pictures, small, small_disk)
        before = contents(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 100_000))
    counted = Counting(pictures)
    with pytest.raises(SystemExit):
        fill(pictures, small, small_disk, counted)
    said = (small_disk / "log").read_text()
    assert "cannot write the shared features here (No space left on device); they take 2.4 MB in all, 0." in said
    assert bool(counted.asked) != able, "with room reserved first, nothing is computed in vain"
    filler.unlink()
    rest = Counting(pictures)
    fill(pictures, small, small_disk, rest)
    assert len(rest.asked) <= 16, "of 20 batches of augmented pictures and one of judged ones"
    assert before.items() <= contents(small_disk).items()
    assert contents(small_disk) == contents(whole_store)


def test_room_is_reserved_where_that_can_be_done_and_given_back_where_there_is_too_little(tmp_path, monkeypatch):
    path = tmp_path / "numbers"
    path.write_bytes(b"abc")
    frozen_features.reserve(path, 100_000)
    assert path.read_bytes() == b"abc" + bytes(99_997)
    assert path.stat().st_blocks * 512 >= 100_000, "no hole"
    frozen_features.reserve(path, 2)
    assert path.read_bytes() == b"ab"

    def full(number, offset, length):
        os.ftruncate(number, offset + length // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(frozen_features.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        frozen_features.reserve(path, 100)
    assert path.read_bytes() == b"ab"
    monkeypatch.setattr(frozen_features.os, "posix_fallocate", unable)
    frozen_features.reserve(path, 100)
    assert path.read_bytes() == b"ab" + bytes(98)
