# What the rules of several stages need to know about the configuration.

from snakemake.io import contains_wildcard


def tell(line):
    print(line, file=sys.stderr)


RESULTS = Path(f"results/{SETTINGS.name}")
for PLACE in (RESULTS.parent, RESULTS):
    if not PLACE.is_dir() and os.path.lexists(PLACE):
        LEADS = f"a link to {os.readlink(PLACE)}, which is no folder" if PLACE.is_symlink() else "a file"
        sys.exit(f"Error: {PLACE} is {LEADS}: make that a folder, or remove {PLACE}; nothing was run")
EXISTING = next(folder for folder in [RESULTS, *RESULTS.parents] if folder.exists())
if not os.access(EXISTING, os.W_OK):
    sys.exit(f"Error: {RESULTS} cannot be written ({EXISTING.absolute()} is read-only for this user); nothing was run")

# As many training jobs at once as there are GPUs times slots, also where the user gave no --resources; a cluster counts
# for itself, and without a GPU the cores are the limit.
if workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources:
    DEVICES = gpus.find(os.environ, tell)
    if DEVICES:
        workflow.register_resource("gpu", len(DEVICES) * SETTINGS.machine.slots)

# Inside a cluster job there is one GPU, however many of its members ask for one.
if workflow.remote_exec:
    workflow.register_resource("gpu", 1)

BUNDLE = 10
PROBED = 128  # validation images on which a comparison's jobs look at the added layer
ROLES = ["train", "validation", "test"]
GENERATED = SETTINGS.data.source == "phantoms"
DATA_ROOT = f"{RESULTS}/phantoms" if GENERATED else SETTINGS.data.root
TABLES = {
    "labels": "Data_Entry_2017_v2020.csv" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.label_table),
    "boxes": "BBox_List_2017.csv" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.box_table),
    "train_val": "train_val_list.txt" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.train_val_list),
    "test": "test_list.txt" if GENERATED else layouts.table(DATA_ROOT, SETTINGS.data.test_list),
}
for PLACE in filter(contains_wildcard, [DATA_ROOT, *TABLES.values()]):
    sys.exit(
        f"Error: {PLACE}: what stands in braces is a wildcard to Snakemake, so that this path cannot be used; make a link "
        "to it that has no braces (ln -s), and name that in the configuration (data)"
    )
LISTS = [os.path.join(DATA_ROOT, TABLES[name]) for name in ("train_val", "test")] if TABLES["test"] else []
STORE = f"{RESULTS}/cache"
COMMON = {"seed": SETTINGS.seed, "precision": SETTINGS.machine.precision}
# Facts of the machine that change no result reach the jobs through the environment: a changed param would retrain.
os.environ.update(
    CXR_RESULTS=str(RESULTS), CXR_GPU_SLOTS=str(SETTINGS.machine.slots), CXR_CHECKPOINT=str(SETTINGS.machine.checkpoint)
)


def protocol_of(wildcards):
    return getattr(SETTINGS, wildcards.protocol)


def chosen(section, *names):
    """The named settings of a section, as plain values for a rule's params."""
    return {name: section.model_dump()[name] for name in names}


def code(script, *files):
    """A hash of what a script executes; a changed algorithm re-runs the rule, a changed comment or a touched file not."""
    return lambda wildcards: fingerprint.remembered(Path(".snakemake/cxr-code.json"), script, *files)


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
    """The split file of a fold of the boxed images."""
    return of_split(role, lambda wildcards: f"boxes_fold{wildcards.fold}")


def of_all_boxes(role):
    """The split files of all folds of the boxed images."""
    return lambda wildcards: [
        split_file(wildcards.protocol, f"boxes_fold{fold}", role) for fold in folds_of(wildcards.protocol)
    ]


def folds_of(name):
    return range(getattr(SETTINGS, name).split.box_folds)


def of_folds(pattern):
    """A file of every fold of a detector, in the order of the folds."""
    return lambda wildcards: [
        pattern.format(fold=fold, **dict(wildcards.items())) for fold in folds_of(wildcards.protocol)
    ]


def of_boxed_labels(wildcards):
    """All labels of the boxed training images, where the grid CNN tells apart absent from not drawn."""
    section = protocol_of(wildcards).gridcnn
    wanted = section.head == "findings" and section.mask_unboxed
    return [of_boxes("train_labels")(wildcards)] if wanted else []


def gridcnn_settings(wildcards, *unused):
    """The settings that a training of the grid CNN depends on."""
    return protocol_of(wildcards).gridcnn.model_dump(exclude={"threshold", "tune_threshold", *unused})


def drawn_beforehand(section):
    return {"count": section.pretraining.images, "side": section.image_size}


def of_pretrained(file):
    """A file of the grid CNN's pre-training on phantoms, where the configuration asks for one."""
    return lambda wildcards: (
        [f"<results>/gridcnn/{wildcards.protocol}/pretrained/{file}"]
        if protocol_of(wildcards).gridcnn.pretraining.images
        else []
    )


def of_records(name):
    return lambda wildcards: checkpoints.records.get().output[name]


def sizes_of(name):
    protocol = getattr(SETTINGS, name)
    wanted = [*protocol.transfer.sizes, protocol.baseline.size or "all", *protocol.transfer.comparison.sizes]
    return list(dict.fromkeys(map(str, wanted)))


def folder_fingerprint():
    """A hash over names, sizes and times of the images below the root, so that changed files re-run `images`."""
    try:
        layouts.require_unpacked(DATA_ROOT)
        return folder.fingerprint(Path(DATA_ROOT), ".png", SETTINGS.data.include, SETTINGS.data.exclude)
    except InputError as error:
        sys.exit(f"Error: {error}")


BOX_CANDIDATES = ("yolo_finetuned", "torchvision_detector")  # detectors of findings that draw boxes


def new_images_fingerprint():
    """The same over the files that `predict` is given."""
    if not SETTINGS.predict.folder:
        sys.exit("Error: nothing to predict: name a folder of images, --config 'predict={folder: /path/to/images}'")
    try:
        predicted.require_own(Path(SETTINGS.predict.folder), RESULTS / "predictions" / NEW / "folder.txt")
        return folder.fingerprint(Path(SETTINGS.predict.folder), "")
    except InputError as error:
        sys.exit(f"Error: {error}")


def transfer_settings(wildcards, schedule):
    section = protocol_of(wildcards).transfer
    return chosen(section, "head_input", "frozen_batchnorm", "balanced", "select_by") | {
        "schedule": section.model_dump()[schedule],
        "probed": 0,
    }


def of_features(wildcards):
    """The grid's shared features, where its frozen layers give the same for every pair."""
    section = protocol_of(wildcards).transfer
    shared = section.frozen_batchnorm == "eval" and section.features_gb > 0
    return [f"<results>/features/{wildcards.protocol}/store.json"] if shared else []


def variant_settings(wildcards):
    """The settings of a grid job, but for the two that the comparison varies."""
    varied = {"head_input": wildcards.head_input, "frozen_batchnorm": wildcards.frozen_batchnorm}
    return transfer_settings(wildcards, "training") | varied | {"probed": PROBED}


def of_variant_features(wildcards):
    shared = wildcards.frozen_batchnorm == "eval" and protocol_of(wildcards).transfer.features_gb > 0
    return [f"<results>/comparison/{wildcards.protocol}/features/store.json"] if shared else []


def compared(protocol):
    """The jobs of a comparison: (head_input, frozen_batchnorm, layers, size)."""
    section = getattr(SETTINGS, protocol).transfer.comparison
    return [
        (*variant, layers, size) for layers in section.layers for size in section.sizes for variant in section.variants
    ]


def of_compared(pattern):
    return lambda wildcards: [
        f"<results>/comparison/{wildcards.protocol}/{head}_{norm}/c{layers}_s{size}/{pattern}"
        for head, norm, layers, size in compared(wildcards.protocol)
    ]


def of_comparison_sizes(role):
    return lambda wildcards: [
        split_file(wildcards.protocol, size, role) for size in protocol_of(wildcards).transfer.comparison.sizes
    ]


def of_compared_splits(role):
    return lambda wildcards: [split_file(wildcards.protocol, size, role) for *_, size in compared(wildcards.protocol)]


def comparisons(pattern):
    """Files of the protocols whose choices are compared."""
    return [pattern.format(protocol=name) for name in SETTINGS.protocols if compared(name)]


def configured_comparisons(wildcards):
    return comparisons("<results>/comparison/{protocol}/comparison.csv") or sys.exit(
        "Error: nothing is compared: give transfer.comparison of a protocol layers and sizes, as config/collapse.yaml does"
    )


def pairs(wildcards):
    section = protocol_of(wildcards).transfer
    return [(layers, size) for layers in section.layers for size in section.sizes]


def of_pairs(pattern):
    return lambda wildcards: [
        pattern.format(protocol=wildcards.protocol, layers=layers, size=size) for layers, size in pairs(wildcards)
    ]


def leakage(wildcards):
    """The tables of what roles share, of every split of every protocol."""
    return [
        split_file(name, split, "leakage")
        for name in SETTINGS.protocols
        for split in [*sizes_of(name), *(f"boxes_fold{fold}" for fold in folds_of(name))]
    ]


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
# Detectors that predict boxes → the section of a protocol's settings with their `confidence` and `tune_confidence`.
BOX_DETECTORS = {"yolo_off_the_shelf": "yolo", "yolo_finetuned": "yolo", "torchvision_detector": "torchvision_detector"}
UNTRAINED = ["yolo_off_the_shelf"]
DETECTORS = [
    (name, detector)
    for name in SETTINGS.protocols
    for detector in [*BOX_DETECTORS, "gridcnn"]
    if (name, detector) not in SKIPPED
]
# [protocol, experiment, fold] of every training job, but the long transfer runs, which are only known after `select`.
JOBS = {
    (name, f"baseline_{activation}", ""): f"<results>/baseline/{name}/{activation}"
    for name in SETTINGS.protocols
    for activation in ("softmax", "sigmoid")
} | {
    (name, detector, str(fold)): f"<results>/{detector}/{name}/fold{fold}"
    for name, detector in DETECTORS
    for fold in folds_of(name)
}
EXPERIMENTS = list(dict.fromkeys((name, experiment) for name, experiment, _ in JOBS))
VOC = [
    f"<results>/voc/{name}/fold{fold}/{role}.csv"
    for name in SETTINGS.protocols
    for fold in folds_of(name)
    for role in ROLES
]


def box_settings(wildcards):
    return getattr(protocol_of(wildcards), BOX_DETECTORS[wildcards.detector])


def of_long_runs(pattern):
    """Files of the long transfer runs of the pairs that `select` chose."""
    return lambda wildcards: [
        pattern.format(protocol=name, pair=pair) for name in SETTINGS.protocols for pair in selected_pairs(name)
    ]


def of_classifiers(protocol, file):
    """A file of every classifier that may predict new images: beside each model lie the facts it is chosen by."""
    return lambda wildcards: [
        f"<results>/baseline/{protocol}/sigmoid/{file}",
        *(f"<results>/transfer_long/{protocol}/{pair}/{file}" for pair in selected_pairs(protocol)),
    ]


def of_detectors(protocol, names, file):
    """The same of every fold of these detectors."""
    return [f"<results>/{name}/{protocol}/fold{fold}/{file}" for name in names for fold in folds_of(protocol)]


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
