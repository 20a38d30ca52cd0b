# What the rules of several stages share: places, protocols, splits, folds, jobs. Functions for the inputs and params of a
# single stage are in inputs/<stage>.smk.

tell = functools.partial(print, file=sys.stderr)

RESULTS = Path(f"results/{SETTINGS.name}")
engine.or_exit(places.require_results, RESULTS)

# As many training jobs at once as there are GPUs times slots, even if the user gave no --resources; a cluster does its own
# counting, and without a GPU the cores are the limit.
if workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources:
    DEVICES = gpus.find(os.environ, tell)
    if DEVICES:
        workflow.register_resource("gpu", len(DEVICES) * SETTINGS.machine.slots)

# Inside a cluster job there is one GPU, however many of its members ask for one.
if workflow.remote_exec:
    workflow.register_resource("gpu", 1)

ROLES = ["train", "validation", "test"]
GENERATED = SETTINGS.data.source == "phantoms"
DATA_ROOT = f"{RESULTS}/phantoms" if GENERATED else SETTINGS.data.root
TABLES = places.tables(SETTINGS.data, DATA_ROOT)
engine.or_exit(places.require_no_braces, [DATA_ROOT, *TABLES.values()])
LISTS = [os.path.join(DATA_ROOT, TABLES[name]) for name in ("train_val", "test")] if TABLES["test"] else []
STORE = f"{RESULTS}/cache"
COMMON = {"seed": SETTINGS.seed, "precision": SETTINGS.machine.precision}
# Facts of the machine that change no result reach the jobs through the environment: a changed param would retrain.
os.environ.update(
    CXR_RESULTS=str(RESULTS), CXR_GPU_SLOTS=str(SETTINGS.machine.slots), CXR_CHECKPOINT=str(SETTINGS.machine.checkpoint)
)

SKIPPED = experiments.skipped(SETTINGS)
DETECTORS = experiments.detectors(SETTINGS)
BOX_DETECTORS = [each.name for each in experiments.EXPERIMENTS if each.kind == "boxes"]
# (protocol, experiment, fold) → its folder: every job that predicts test images, except the long transfer runs, which
# are known only after `select`.
JOBS = {key: f"<results>/{place}" for key, place in experiments.jobs(SETTINGS).items()}


def protocol_of(wildcards):
    return getattr(SETTINGS, wildcards.protocol)


def chosen(section, *names):
    """The named settings of a section, as plain values for a rule's params."""
    return {name: section.model_dump()[name] for name in names}


def code(script, *files):
    """A hash of what a script executes; a changed algorithm re-runs the rule, a changed comment or time stamp does not."""
    return lambda wildcards: fingerprint.remembered(Path(".snakemake/cxr-code.json"), script, *files)


def growing(value):
    """A resource that grows each time a job is submitted again."""
    return lambda wildcards, attempt: value * attempt


# Below a checkpoint Snakemake compares files by content, not by what ran: that is what keeps a changed image or label
# from retraining what it does not touch. Every input function asks for checkpoints in this order, records, splits,
# select: of the checkpoints that need not run again, Snakemake 9 notices only a job's first.
def of_records(name):
    return lambda wildcards: checkpoints.records.get().output[name]


def splits_of(protocol):
    checkpoints.records.get()
    return checkpoints.splits.get(protocol=protocol).output.folder


def split_file(protocol, size, role):
    """A split file, once the checkpoint has run."""
    return f"{splits_of(protocol)}/{size}/{role}.csv"


def of_split(role, size=None):
    """The split file of a job. size: a function of the wildcards; without it, the wildcard itself."""
    return lambda wildcards: split_file(wildcards.protocol, size(wildcards) if size else wildcards.size, role)


def of_draw(role):
    """The split file of a pair's repeat that holds its own draw of training images."""
    return of_split(role, lambda wildcards: wildcards.size + plans.draw_of(wildcards.repeat))


def of_baseline(role):
    """The split file of the baselines."""
    return of_split(role, lambda wildcards: plans.baseline_size(protocol_of(wildcards)))


def folds_of(name):
    return range(getattr(SETTINGS, name).split.box_folds)


def of_boxes(role):
    """The split file of a fold of the boxed images."""
    return of_split(role, lambda wildcards: f"boxes_fold{wildcards.fold}")


def of_all_boxes(role):
    """The split files of all folds of the boxed images."""
    return lambda wildcards: [
        split_file(wildcards.protocol, f"boxes_fold{fold}", role) for fold in folds_of(wildcards.protocol)
    ]


def of_folds(pattern):
    """A file of every fold of a detector, in the order of the folds."""
    return lambda wildcards: [
        pattern.format(fold=fold, **dict(wildcards.items())) for fold in folds_of(wildcards.protocol)
    ]


def selected_pairs(protocol):
    """The pairs that the checkpoint chose, as experiment names."""
    for name in SETTINGS.protocols:
        splits_of(name)
    with checkpoints.select.get(protocol=protocol).output.selected.open() as file:
        return [f"c{row['layers']}_s{row['size']}" for row in csv.DictReader(file)]


def of_long_repeats(pattern):
    """A protocol's files of the long runs of the chosen pairs, in every draw of their training images."""
    return lambda wildcards: [
        f"<results>/{pattern}".format(protocol=wildcards.protocol, pair=pair, repeat=repeat)
        for pair in selected_pairs(wildcards.protocol)
        for repeat in plans.draws(protocol_of(wildcards).transfer)
    ]


def of_long_runs(pattern):
    """Files of the long transfer runs of the pairs that `select` chose."""
    return lambda wildcards: [
        pattern.format(protocol=name, pair=pair) for name in SETTINGS.protocols for pair in selected_pairs(name)
    ]
