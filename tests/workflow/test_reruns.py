"""Which rules run after which change: exactly those whose inputs changed in content, and no other, by the real Snakemake."""

import hashlib
import json
import os
import random
import shutil
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from running import executed, planned, snakemake

LISTS = "train_val_list: train_val_list.txt, test_list: test_list.txt"
FILES = [f"data={{source: nih, root: data, {LISTS}}}"]  # the phantoms, read as a user's own files
LABELS, BOXES = "data/Data_Entry_2017_v2020.csv", "data/BBox_List_2017.csv"
TRAINING = (
    "baseline",
    "transfer",
    "transfer_long",
    "gridcnn",
    "yolo_finetuned",
    "torchvision_detector",
    "source_weights",
)
OUTSIDE_THE_GRID = {*TRAINING, "images", "records"} - {
    "transfer",
    "transfer_long",
}  # what its sizes and depths leave alone


@pytest.fixture(scope="session")
def own_files(repository, finished, tmp_path_factory):
    """The finished study, its images now lying in a folder of the user's; what ran to get there."""
    folder = tmp_path_factory.mktemp("own") / "work"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.move(folder / "results/tiny/phantoms", folder / "data")
    ran = executed(repository, folder, config=FILES)
    assert planned(repository, folder, config=FILES) == {}
    return folder, ran


@pytest.fixture
def work(own_files, tmp_path):
    """A copy to change."""
    shutil.copytree(own_files[0], tmp_path / "work", symlinks=True)
    return tmp_path / "work"


@pytest.fixture
def checkout(repository, tmp_path):
    """A fresh copy of the workflow, all of its files newer than any result."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Snakefile", "rules", "workflow", "config", "envs", "profiles", "tests"):
        source = repository / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    for path in folder.rglob("*"):
        os.utime(path)
    return folder


def split_hashes(folder):
    root = folder / "results/tiny/splits"
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.csv")}


def expected_training(before, after):
    """Rule → number of jobs one of whose split files differ."""
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    jobs = [("baseline", protocol, "all", "test_images") for protocol in ("paper", "sound") for _ in range(2)]
    jobs += [("transfer", "paper", size, "validation") for size in ("40", "60") for _ in (0, 4)]
    jobs += [("transfer", "sound", "20", "validation") for _ in ("first", "another seed")]
    jobs += [
        (rule, protocol, split, "test_images")
        for rule in ("gridcnn", "yolo_finetuned", "torchvision_detector")
        for protocol, split in (("paper", "boxes_fold0"), ("sound", "boxes_fold0"), ("sound", "boxes_fold1"))
        if (rule, protocol) != ("torchvision_detector", "paper")
    ]
    counts = Counter(
        rule
        for rule, protocol, split, predicted in jobs
        if changed & {f"{protocol}/{split}/{role}.csv" for role in ("train", "validation", predicted)}
    )
    if changed & {"sound/20_r1/train.csv", "sound/20/validation.csv"}:  # the pair's further draw
        counts["transfer"] += 1
    return counts


def run(repository, folder):
    """Run after a change of the data; check that just the jobs with changed inputs trained, and return what ran."""
    before = split_hashes(folder)
    ran = executed(repository, folder, config=FILES)
    trained = {rule: ran[rule] for rule in TRAINING if rule in ran}
    long_runs = trained.pop("transfer_long", 0)
    assert trained == expected_training(before, split_hashes(folder))
    assert long_runs <= 3 and "source_weights" not in ran and "phantoms" not in ran
    assert planned(repository, folder, config=FILES) == {}
    return ran


def of_role(folder, split, role="train"):
    return pd.read_csv(folder / f"results/tiny/splits/{split}/{role}.csv", keep_default_na=False)


def outside_the_grid(folder, all_role, sound_role):
    """Images without boxes that are in no set of the (c, s) grid, and in these roles of the baselines' sets."""
    grid = [of_role(folder, "paper/40", role) for role in ("train", "validation", "test")]
    grid += [of_role(folder, "paper/60", role) for role in ("train", "validation", "test")]
    grid += [of_role(folder, "sound/20", "train")]
    boxed = pd.read_csv(folder / BOXES).iloc[:, 0]
    paper, sound = of_role(folder, "paper/all", all_role), of_role(folder, "sound/all", sound_role)
    names = set(paper["image"]) & set(sound["image"]) - set(boxed) - {name for t in grid for name in t["image"]}
    assert names
    return sorted(names)


def edit_label(folder, image, label):
    lines = (folder / LABELS).read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        fields = line.split(",")
        if fields[0] == image:
            fields[1] = label
            lines[number] = ",".join(fields)
    (folder / LABELS).write_text("".join(lines))


def test_the_same_images_in_another_folder_retrain_nothing(own_files):
    assert own_files[1] == {"images": 1, "records": 1, "splits": 2, "settings": 1, "report": 1}


def test_touched_but_unchanged_files_run_nothing(repository, work):
    for path in [*work.glob("data/*.*"), *work.rglob("splits/*/*/*.csv"), work / "results/tiny/source/weights.pt"]:
        os.utime(path)
    assert planned(repository, work, config=FILES) == {}


def test_a_touched_image_is_looked_at_and_no_more(repository, work):
    os.utime(next(work.rglob("data/**/*.png")))
    assert run(repository, work) == {"images": 1, "records": 1}
    assert "1 of 1 images" in (work / "results/tiny/logs/images.log").read_text()


def test_a_corrected_label_of_a_test_image_retrains_nothing(repository, work):
    image = outside_the_grid(work, "test", "test")[0]
    edit_label(work, image, "Hernia|Nodule")
    ran = run(repository, work)
    assert ran.pop("metrics_transfer") == 2, "sound has one test set for every size, and two draws of its pair"
    assert ran.pop("validity_transfer") == ran.pop("long_repeats") == 1
    assert ran == {"images": 1, "records": 1, "splits": 2, "examples": 1, "metrics_baseline": 4, "report": 1} | {
        "validity_baseline": 2,
        "claims": 1,
        "transfer_gain": 2,
    }, "the image-free predictors read no label of a test image"


def test_a_corrected_label_of_a_training_image_retrains_what_was_trained_on_it(repository, work):
    image = outside_the_grid(work, "train", "train")[0]
    edit_label(work, image, "Hernia|Nodule")
    ran = run(repository, work)
    assert {rule: ran.get(rule, 0) for rule in TRAINING} == {
        "baseline": 4, "transfer": 0, "transfer_long": 0, "gridcnn": 0, "yolo_finetuned": 0, "torchvision_detector": 0,
        "source_weights": 0,
    }  # fmt: skip


def test_a_corrected_box_retrains_the_detectors_alone(repository, work):
    both = set(of_role(work, "paper/boxes_fold0")["image"]) & set(of_role(work, "sound/boxes_fold0")["image"])
    lines = (work / BOXES).read_text().splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if line.split(",")[0] in both)
    fields = lines[number].split(",")
    fields[2] = str(float(fields[2]) + 40)
    lines[number] = ",".join(fields)
    (work / BOXES).write_text("".join(lines))
    ran = run(repository, work)
    detectors = ("gridcnn", "yolo_finetuned", "torchvision_detector")
    assert {rule: ran.get(rule, 0) for rule in ("baseline", "transfer", *detectors)} == {
        "baseline": 0, "transfer": 0, "gridcnn": 2, "yolo_finetuned": 2, "torchvision_detector": 1
    }, "not the fold that tests it"  # fmt: skip
    assert ran["voc_split"] == 3


def test_a_replaced_image_is_decoded_alone_and_retrains_what_saw_it(repository, work):
    image = outside_the_grid(work, "train", "train")[0]
    path = next(work.rglob(f"data/**/{image}"))
    Image.fromarray(255 - np.asarray(Image.open(path).convert("L"))).save(path)
    ran = run(repository, work)
    assert "1 of 1 images" in (work / "results/tiny/logs/images.log").read_text()
    assert ran["baseline"] == 4 and "transfer" not in ran and "gridcnn" not in ran


def test_new_images_are_decoded_alone_and_retrain_what_they_enter(repository, work):
    rows = (work / LABELS).read_text().splitlines(keepends=True)
    known = next(work.rglob("data/**/*.png"))
    for number in range(3):
        name = f"{90000 + number:08d}_000.png"
        shutil.copy(known, known.with_name(name))
        pixels = np.roll(np.asarray(Image.open(known).convert("L")), number + 1, axis=1)
        Image.fromarray(pixels).save(known.with_name(name))
        fields = rows[1].split(",")
        fields[0], fields[3] = name, str(90000 + number)
        rows.append(",".join(fields))
    (work / LABELS).write_text("".join(rows))
    with (work / "data/train_val_list.txt").open("a") as file:
        file.writelines(f"{90000 + number:08d}_000.png\n" for number in range(3))
    ran = run(repository, work)
    assert "3 of 3 images" in (work / "results/tiny/logs/images.log").read_text()
    assert "gridcnn" not in ran and "yolo_finetuned" not in ran, "none of them has a box"


def test_a_further_size_and_a_further_depth_train_only_their_own_pairs(repository, finished, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(finished, work, symlinks=True)
    ran = executed(repository, work, config=["paper={transfer: {sizes: [40, 60, 70], layers: [0, 2, 4]}}"])
    assert ran["transfer"] == 5 and ran["splits"] == 1 and ran["select"] == 1
    assert not ran.keys() & OUTSIDE_THE_GRID


def test_a_further_depth_of_a_grid_that_shares_features_trains_its_pair(repository, finished, tmp_path):
    """Its features are computed for it, and lie between its pairs and all that was there before."""
    work = tmp_path / "work"
    shutil.copytree(finished, work, symlinks=True)
    ran = executed(repository, work, config=["sound={transfer: {layers: [0, 2]}}"])
    assert ran["features"] == 1 and ran["select"] == 1 and ran["report"] == 1
    assert ran["transfer"] == 3, "two draws, and the first draw's images with the other seed"
    assert not ran.keys() & OUTSIDE_THE_GRID
    assert (work / "results/tiny/transfer/sound/c0_s20/history.csv").exists()
    assert planned(repository, work, config=["sound={transfer: {layers: [0, 2]}}"]) == {}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def plan(checkout, folder):
    """What a checkout would run in a folder."""
    return planned(checkout, folder)


def test_a_fresh_checkout_with_old_results_runs_nothing_with_and_without_snakemakes_memory(
    checkout, finished, tmp_path
):
    assert plan(checkout, finished) == {}
    bare = tmp_path / "bare"
    shutil.copytree(finished / "results", bare / "results", symlinks=True)
    assert plan(checkout, bare) == {}


def test_another_machines_clock_runs_nothing(checkout, finished, tmp_path):
    """All times of all results shuffled, some in the future, some years ago."""
    work = tmp_path / "work"
    shutil.copytree(finished, work, symlinks=True)
    draw = random.Random(0)
    for path in (work / "results").rglob("*"):
        moment = time.time() + draw.choice([-1, 1]) * draw.random() * 1e8
        os.utime(path, (moment, moment))
    assert plan(checkout, work) == {}


def test_comments_and_touched_modules_run_nothing(checkout, finished):
    for path in (checkout / "workflow").rglob("*.py"):
        if "scripts" in path.parts:
            path.write_text("# a comment\n" + path.read_text())
        os.utime(path)
    assert plan(checkout, finished) == {}


@pytest.mark.parametrize(
    ("module", "old", "new", "rules"),
    [
        ("detectors/gridcnn/network.py", "self.stem(images - 0.5)", "self.stem(images - 0.4)",
         {"gridcnn": 3, "metrics_gridcnn": 2, "validity_gridcnn": 2, "sheet_gridcnn": 2, "report": 1}),
        ("metrics/bootstrap.py", "def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:\n",
         "def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:\n    numerator = numerator * 1\n",
         None),
        ("metrics/floors.py", "import numpy as np\n", "import numpy as np\n\nnp.seterr(all=\"ignore\")\n",
         {"metrics_gridcnn": 2, "metrics_boxes": 3, "claims": 1}),
        ("report/template.html.j2", "</body>", "<p>Words.</p></body>", {"report": 1}),
    ],
)  # fmt: skip
def test_a_changed_algorithm_runs_what_executes_it(checkout, finished, module, old, new, rules):
    edit(checkout / "workflow/cxr" / module, old, new)
    found = plan(checkout, finished)
    if rules is None:  # scores of the validation images: training and evaluation
        assert {"baseline", "transfer", "metrics_baseline", "select"} <= found.keys()
        assert not found.keys() & {"images", "records", "splits", "yolo_data", "yolo_off_the_shelf"}
    else:
        assert {rule: found.get(rule) for rule in rules} == rules
        assert not found.keys() & ({*TRAINING, "images", "records", "splits"} - rules.keys())


def test_a_changed_training_setting_of_one_experiment_retrains_it_alone(repository, finished):
    found = planned(repository, finished, config=["sound={gridcnn: {training: {learning_rate: 0.001}}}"])
    judged = {"metrics_gridcnn": 1, "validity_gridcnn": 1, "sheet_gridcnn": 1}
    assert found == {"gridcnn": 2, "settings": 1, "report": 1} | judged


def test_a_grid_cnn_that_starts_from_phantoms_is_retrained_by_a_change_of_them_alone(repository, finished, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(finished, work, symlinks=True)

    def config(more=""):
        return [f"sound={{gridcnn: {{pretraining: {{images: 100, training: {{epochs: 1, steps: 2{more}}}}}}}}}"]

    target = "results/tiny/gridcnn/sound/fold0/model.pt"
    ran = executed(repository, work, "--", target, config=config())
    assert ran == {"gridcnn_phantoms": 1, "gridcnn_pretrained": 1, "gridcnn": 1}
    assert planned(repository, work, "--", target, config=config()) == {}
    found = planned(repository, work, "--", target, config=config(", learning_rate: 0.001"))
    assert found == {"gridcnn_pretrained": 1, "gridcnn": 1}
    facts = json.loads((work / "results/tiny/gridcnn/sound/fold0/facts.json").read_text())
    assert facts["pretrained_on"] == "90 generated phantoms, 1 epochs" and facts["inputs"]["pretrained"]


@pytest.mark.parametrize("machine", ["{slots: 3}", "{checkpoint: 7}"])
def test_facts_of_the_machine_retrain_nothing(repository, finished, machine):
    assert planned(repository, finished, config=[f"machine={machine}"]) == {"settings": 1, "report": 1}


@pytest.mark.long
def test_the_same_run_again_gives_the_same_numbers(repository, finished, tmp_path):
    code, output = snakemake(repository, tmp_path)
    assert code == 0, output[-4000:]
    tables = sorted(path.relative_to(finished) for path in finished.glob("results/tiny/metrics/*/*.csv"))
    assert len(tables) == 11
    for table in tables:
        assert (tmp_path / table).read_bytes() == (finished / table).read_bytes(), table


def test_deleted_shared_features_come_back_only_when_a_pair_needs_them(repository, finished, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(finished, work, symlinks=True)
    shutil.rmtree(work / "results/tiny/features/sound")
    assert planned(repository, work) == {}
    found = planned(repository, work, config=["sound={transfer: {training: {learning_rate: 0.001}}}"])
    assert found["features"] == 1 and found["transfer"] == 3
