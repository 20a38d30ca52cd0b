# Transfer learning on NIH ChestX-ray14: from the official tables and images to one report.
# This file is the table of contents: configuration, rules by stage, and what a user can ask for.

import csv
import dataclasses
import functools
import hashlib
import os
import sys

from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.persistence.file import FilePersistence
from snakemake.spawn_jobs import SpawnedJobArgsFactory
from snakemake.utils import min_version

min_version("9.20")

# The package is imported here (settings only) and by the scripts, which run in processes of their own.
HERE = workflow.current_basedir  # the folder of this file, also where another workflow uses it as a module
PACKAGE = f"{HERE}/workflow"
sys.path.insert(0, PACKAGE)
os.environ.update(PYTHONPATH=os.pathsep.join([PACKAGE, *filter(None, [os.environ.get("PYTHONPATH")])]))
os.environ.update(MPLBACKEND="agg")  # matplotlib cannot be imported if a user has set a backend that it does not know

from cxr import experiments, settings
from cxr.data import folder, layouts
from cxr.data.formats import decoders
from cxr.download import acquire, release
from cxr.inference import destination
from cxr.runtime import bundle, gpus
from runner import engine, fingerprint, guard, integrity, places, plans, slurm_jobs

# The fixes to Snakemake apply only to the versions that they were tested with.
UNTESTED = engine.untested()
if UNTESTED and workflow.is_main_process:
    print(f"Warning: {UNTESTED}", file=sys.stderr)
if not UNTESTED:
    engine.ask_behind_ancient(DAG)
    engine.ask_for_missing_checkpoints(DAG)
    engine.keep_until_replaced(Job)
    engine.encode_configuration(SpawnedJobArgsFactory)

# A configuration says what differs from the defaults in workflow/cxr/settings.py; without --configfile, the demo's.
if not workflow.overwrite_configfiles:

    configfile: f"{HERE}/config/config.yaml"


engine.or_exit(engine.require_files, workflow.overwrite_configfiles)
SETTINGS = engine.or_exit(settings.load, engine.decoded(config))


pathvars:
    results=f"results/{SETTINGS.name}",
    logs=f"results/{SETTINGS.name}/logs",
    benchmarks=f"results/{SETTINGS.name}/benchmarks",


include: "rules/common.smk"


if not UNTESTED:
    engine.keep_records(FilePersistence, RESULTS)
if not UNTESTED and workflow.is_main_process:
    engine.around_planning(
        DAG,
        before=lambda dag: integrity.mend(RESULTS, dag.workflow.dryrun, tell),
        after=lambda dag: integrity.require_records(dag, RESULTS, SETTINGS.model_dump(), tell),
    )


wildcard_constraints:
    protocol="|".join(SETTINGS.protocols),
    activation="softmax|sigmoid",
    role="train|validation|test",
    head_input="softmax|logits|features",
    frozen_batchnorm="eval|batch|keras",
    layers=r"\d+",
    size=r"\d+|all",
    fold=r"\d+",
    repeat=r"(_(r|seed)[1-9]\d*)?",
    number=r"\d+",
    half="a|b",
    draw=r"\d+",
    loss="mse|l1|cosine",
    amount="all|fewer",
    detector="|".join(BOX_DETECTORS),


include: "rules/data.smk"
include: "rules/download.smk"
include: "rules/splits.smk"
include: "rules/floors.smk"
include: "rules/baseline.smk"
include: "rules/transfer.smk"
include: "rules/detection.smk"
include: "rules/yolov2.smk"
include: "rules/torchvision_detector.smk"
include: "rules/gridcnn.smk"
include: "rules/report.smk"
include: "rules/ledger.smk"
include: "rules/comparison.smk"
include: "rules/leakage.smk"
include: "rules/predict.smk"
include: "rules/validate.smk"


# Runs before the first job, in the main process alone.
onstart:
    guard.start(RESULTS)
    bundle.forget(RESULTS / "state")
    if not UNTESTED:
        engine.calm(workflow.scheduler)
    if name := getattr(workflow.scheduler._executor, "run_uuid", None):  # what the SLURM executor calls its jobs
        try:
            slurm_jobs.require_plain(slurm_jobs.paths(SETTINGS, DATA_ROOT, TABLES))
            slurm_jobs.require_plain_command(workflow.scheduler._executor)
            slurm_jobs.take_over(RESULTS, name, print)
        except RuntimeError as error:
            sys.exit(f"Error: {error}")
        if not UNTESTED:
            slurm_jobs.keep_in_sight(workflow.scheduler._executor)


onsuccess:
    bundle.forget(RESULTS / "state")


localrules:
    all,
    predict,
    validate,
    preflight,
    data,
    floors,
    grid,
    collapse,
    leakage,
    voc,
    settings,


rule all:
    default_target: True
    input:
        rules.report.output.page,


# Data only: parse, validate, decode; prints a summary. Run it before a long job.
rule preflight:
    input:
        rules.records.output.text,
    log:
        "<logs>/preflight.log",
    conda:
        "envs/data.yaml"
    shell:
        "cat {input:q} | tee {log:q}"


# Tables, images and splits up to date, nothing trained; after it a dry run is exact.
rule data:
    input:
        expand("<results>/splits/{protocol}", protocol=SETTINGS.protocols),


# The floors of labels and boxes from the tables alone: no image, no training.
rule floors:
    input:
        rules.label_floors.output.text,
        rules.box_floors.output.text,
    log:
        "<logs>/floors_shown.log",
    conda:
        "envs/data.yaml"
    shell:
        "cat {input:q} | tee {log:q}"


rule grid:
    input:
        expand("<results>/transfer/{protocol}/grid.csv", protocol=SETTINGS.protocols),


# Which choices of transfer learning collapse to the majority classifier, and why; config/collapse.yaml asks for it.
rule collapse:
    input:
        configured_comparisons,


# What recognising patients is worth; set leakage.enabled to have it in the report.
rule leakage:
    input:
        rules.metrics_leakage.output.table,


rule voc:
    input:
        VOC,


# The best classifier of the study on the labelled images of another data set.
rule validate:
    input:
        rules.validate_report.output.page,
        rules.validate_metrics.output.table,


# New images through the best models of the study.
rule predict:
    input:
        rules.predict_overlays.output.provenance,
        rules.predict_images.output.rejected,
