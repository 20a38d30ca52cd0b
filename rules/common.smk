# What the rules of several stages need to know about the configuration.

RESULTS = Path(f"results/{SETTINGS.name}")
EXISTING = next(folder for folder in [RESULTS, *RESULTS.parents] if folder.exists())
if not os.access(EXISTING, os.W_OK):
    sys.exit(f"Error: {RESULTS} cannot be written ({EXISTING.absolute()} is read-only for this user); nothing was run")

# As many training jobs at once as there are GPUs times slots, also where the user gave no --resources; a cluster counts
# for itself, and without a GPU the cores are the limit.
if workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources:
    DEVICES = gpus.find(os.environ)
    if DEVICES:
        workflow.register_resource("gpu", len(DEVICES) * SETTINGS.machine.slots)

# Inside a cluster job there is one GPU, however many of its members ask for one.
if workflow.remote_exec:
    workflow.register_resource("gpu", 1)

BUNDLE = 10
ROLES = ["train", "validation", "test"]
GENERATED = SETTINGS.data.source == "phantoms"
DATA_ROOT = f"{RESULTS}/phantoms" if GENERATED else SETTINGS.data.root
TABLES = {
    "labels": "Data_Entry_2017_v2020.csv" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.label_table),
    "boxes": "BBox_List_2017.csv" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.box_table),
    "train_val": "train_val_list.txt" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.train_val_list),
    "test": "test_list.txt" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.test_list),
}
LISTS = [os.path.join(DATA_ROOT, TABLES[name]) for name in ("train_val", "test")] if TABLES["test"] else []
STORE = f"{RESULTS}/cache"
COMMON = {"seed": SETTINGS.seed, "precision": SETTINGS.machine.precision}
# Facts of the machine that change no result reach the jobs through the environment: a changed param would retrain.
os.environ.update(CXR_GPU_SLOTS=str(SETTINGS.machine.slots), CXR_CHECKPOINT=str(SETTINGS.machine.checkpoint))


def protocol_of(wildcards):
    return getattr(SETTINGS, wildcards.protocol)


def chosen(section, *names):
    """The named settings of a section, as plain values for a rule's params."""
    return {name: section.model_dump()[name] for name in names}


def code(script, *files):
    """A hash of what a script executes; a changed algorithm re-runs the rule, a changed comment or a touched file not."""
    return lambda wildcards: fingerprint.of_script(script, *files)


def baseline_size(wildcards):
    return protocol_of(wildcards).baseline.size or "all"


# Below a checkpoint Snakemake compares files by content, not by what ran: that is what keeps a changed image or label
# from retraining what it does not touch. Every input function asks for checkpoints in this order, records, splits,
# select: of a checkpoint that need not run again, Snakemake 9 notices only a job's first.
def splits_of(protocol):
    checkpoints.records.get()
    return checkpoints.splits.get(protocol=protocol).output.folder


def split_file(protocol, size, role):
    """A split file, once the checkpoint has run."""
    return f"{splits_of(protocol)}/{size}/{role}.csv"


def of_split(role, size=None):
    """The split file of a job. size: a function of the wildcards; without, the wildcard itself."""
    return lambda wildcards: split_file(wildcards.protocol, size(wildcards) if size else wildcards.size, role)


def of_boxes(role):
    return of_split(role, lambda wildcards: "boxes")


def of_records(name):
    return lambda wildcards: checkpoints.records.get().output[name]


def sizes_of(name):
    protocol = getattr(SETTINGS, name)
    return [
        *map(str, protocol.transfer.sizes),
        *{str(protocol.baseline.size or "all")} - {*map(str, protocol.transfer.sizes)},
    ]


def folder_fingerprint():
    """A hash over names, sizes and times of the images below the root, so that changed files re-run `images`."""
    try:
        layouts.require_unpacked(DATA_ROOT)
        return folder.fingerprint(Path(DATA_ROOT))
    except InputError as error:
        sys.exit(f"Error: {error}")


BOX_CANDIDATES = ("yolo_finetuned", "torchvision_detector")  # detectors of findings that draw boxes


def new_images_fingerprint():
    """The same over the files that `predict` is given."""
    if not SETTINGS.predict.folder:
        sys.exit("Error: nothing to predict: name a folder of images, --config 'predict={folder: /path/to/images}'")
    try:
        return folder.fingerprint(Path(SETTINGS.predict.folder), "")
    except InputError as error:
        sys.exit(f"Error: {error}")


def transfer_settings(wildcards, schedule):
    section = protocol_of(wildcards).transfer
    return chosen(section, "head_input", "frozen_batchnorm", "balanced", "select_by") | {
        "schedule": section.model_dump()[schedule]
    }


def of_features(wildcards):
    """The grid's shared features, where its frozen layers give the same for every pair."""
    section = protocol_of(wildcards).transfer
    shared = section.frozen_batchnorm == "eval" and section.features_gb > 0
    return [f"<results>/features/{wildcards.protocol}"] if shared else []


def pairs(wildcards):
    section = protocol_of(wildcards).transfer
    return [(layers, size) for layers in section.layers for size in section.sizes]


def of_pairs(pattern):
    return lambda wildcards: [
        pattern.format(protocol=wildcards.protocol, layers=layers, size=size) for layers, size in pairs(wildcards)
    ]


def leakage(wildcards):
    """The tables of what roles share, of every split of every protocol."""
    return [split_file(name, size, "leakage") for name in SETTINGS.protocols for size in [*sizes_of(name), "boxes"]]


def of_size_splits(role):
    return lambda wildcards: [
        split_file(wildcards.protocol, size, role) for size in protocol_of(wildcards).transfer.sizes
    ]


def of_pair_splits(role):
    return lambda wildcards: [split_file(wildcards.protocol, size, role) for _, size in pairs(wildcards)]


def selected_pairs(protocol):
    """The pairs the checkpoint chose, as experiment names."""
    import csv

    for name in SETTINGS.protocols:
        splits_of(name)
    with checkpoints.select.get(protocol=protocol).output.selected.open() as file:
        return [f"c{row['layers']}_s{row['size']}" for row in csv.DictReader(file)]


NO_COCO = "no COCO weights: set {protocol}.yolo.pretrained to a weights file"
SKIPPED = {
    (name, "yolo_off_the_shelf"): NO_COCO.format(protocol=name)
    for name in SETTINGS.protocols
    if not getattr(SETTINGS, name).yolo.pretrained
} | {
    (name, "torchvision_detector"): f"{name}.torchvision_detector.enabled is false"
    for name in SETTINGS.protocols
    if not getattr(SETTINGS, name).torchvision_detector.enabled
}
DETECTORS = [
    (name, detector)
    for name in SETTINGS.protocols
    for detector in ("yolo_off_the_shelf", "yolo_finetuned", "torchvision_detector", "gridcnn")
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


def growing(value):
    """A resource that a job gets more of each time it is submitted again."""
    return lambda wildcards, attempt: value * attempt


def bundles(protocol):
    """Name → predictions of the pairs that share a cluster job: at most BUNDLE of one size."""
    section = getattr(SETTINGS, protocol).transfer
    return {
        f"s{size}_{start // BUNDLE}": [
            f"<results>/transfer/{protocol}/c{layers}_s{size}/predictions.csv"
            for layers in section.layers[start : start + BUNDLE]
        ]
        for size in section.sizes
        for start in range(0, len(section.layers), BUNDLE)
    }


def release_files():
    if GENERATED:
        sys.exit(
            "Error: data.source is phantoms: nothing is downloaded; give the configuration of a study on NIH images"
        )
    from cxr import release

    table = SETTINGS.download.table or f"{workflow.basedir}/config/release.csv"
    try:
        return release.read(table)
    except InputError as error:
        sys.exit(f"Error: {error}")


def release_file(wildcards):
    from dataclasses import asdict

    files = release_files()
    if wildcards.file not in files:
        sys.exit(f"Error: the address table names no file '{wildcards.file}', but {', '.join(files)}")
    return asdict(files[wildcards.file])


def everything_downloaded(wildcards):
    """What `download` waits for; the room on the disk is checked once, before the first job."""
    from cxr import acquisition

    files = release_files()
    store = f"{DATA_ROOT}/downloaded"
    try:
        acquisition.require_room(
            files.values(),
            Path(DATA_ROOT),
            store=Path(store),
            keep_archives=SETTINGS.download.keep_archives,
            parallel=SETTINGS.download.parallel,
        )
    except InputError as error:
        sys.exit(f"Error: {error}")
    return [f"{store}/{name}.json" for name in files]
