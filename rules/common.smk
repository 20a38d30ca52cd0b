# What the rules of several stages need to know about the configuration.

RESULTS = Path(f"results/{SETTINGS.name}")
EXISTING = next(folder for folder in [RESULTS, *RESULTS.parents] if folder.exists())
if not os.access(EXISTING, os.W_OK):
    sys.exit(f"Error: {RESULTS} cannot be written ({EXISTING.absolute()} is read-only for this user); nothing was run")

ROLES = ["train", "validation", "test"]
GENERATED = SETTINGS.data.source == "phantoms"
DATA_ROOT = f"{RESULTS}/phantoms" if GENERATED else SETTINGS.data.root
TABLES = {
    "labels": "Data_Entry_2017_v2020.csv" if GENERATED else SETTINGS.data.label_table,
    "boxes": "BBox_List_2017.csv" if GENERATED else SETTINGS.data.box_table,
    "train_val": "train_val_list.txt" if GENERATED else SETTINGS.data.train_val_list,
    "test": "test_list.txt" if GENERATED else SETTINGS.data.test_list,
}
LISTS = [os.path.join(DATA_ROOT, TABLES[name]) for name in ("train_val", "test")] if TABLES["test"] else []
STORE = f"{RESULTS}/cache"
COMMON = {"seed": SETTINGS.seed, "precision": SETTINGS.machine.precision}


def protocol_of(wildcards):
    return getattr(SETTINGS, wildcards.protocol)


def chosen(section, *names):
    """The named settings of a section, as plain values for a rule's params."""
    return {name: section.model_dump()[name] for name in names}


def code(*modules):
    """A hash of the modules that a job executes; a changed algorithm re-runs the rule, a changed comment does not."""
    return fingerprint.of_modules(*modules)


def baseline_size(wildcards):
    return protocol_of(wildcards).baseline.size or "all"


def folder_fingerprint():
    """A hash over names, sizes and times of the images below the root, so that changed files re-run `images`."""
    from cxr import images

    try:
        return images.fingerprint(Path(DATA_ROOT))
    except InputError as error:
        sys.exit(f"Error: {error}")


def transfer_settings(wildcards, schedule):
    section = protocol_of(wildcards).transfer
    return chosen(section, "head_input", "frozen_batchnorm", "balanced", "select_by") | {
        "schedule": section.model_dump()[schedule]
    }


def pairs(wildcards):
    section = protocol_of(wildcards).transfer
    return [(layers, size) for layers in section.layers for size in section.sizes]


def of_pairs(pattern):
    return lambda wildcards: [
        pattern.format(protocol=wildcards.protocol, layers=layers, size=size) for layers, size in pairs(wildcards)
    ]


def selected_pairs(protocol):
    """The pairs the checkpoint chose, as experiment names."""
    import csv

    with checkpoints.select.get(protocol=protocol).output.selected.open() as file:
        return [f"c{row['layers']}_s{row['size']}" for row in csv.DictReader(file)]


NO_COCO = "no COCO weights: set {protocol}.yolo.pretrained to a weights file"
SKIPPED = {
    (name, "yolo_off_the_shelf"): NO_COCO.format(protocol=name)
    for name in SETTINGS.protocols
    if not getattr(SETTINGS, name).yolo.pretrained
}
DETECTORS = [
    (name, detector)
    for name in SETTINGS.protocols
    for detector in ("yolo_off_the_shelf", "yolo_finetuned", "gridcnn")
    if (name, detector) not in SKIPPED
]
# (protocol, experiment) → folder of its history and facts; the long transfer runs are only known after `select`.
FOLDERS = {
    (name, f"baseline_{activation}"): f"<results>/baseline/{name}/{activation}"
    for name in SETTINGS.protocols
    for activation in ("softmax", "sigmoid")
} | {(name, detector): f"<results>/{detector}/{name}" for name, detector in DETECTORS}


def of_experiments(pattern):
    return [
        pattern.format(protocol=name, experiment=experiment, folder=folder)
        for (name, experiment), folder in FOLDERS.items()
    ]


def of_long_runs(pattern):
    """Files of the long transfer runs of the pairs that `select` chose."""
    return lambda wildcards: [
        pattern.format(protocol=name, pair=pair) for name in SETTINGS.protocols for pair in selected_pairs(name)
    ]
