import os
from pathlib import Path

from cxr import runs, yolo

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"yolo off the shelf {job.protocol} fold {job.fold}", os.environ) as (run, out):
    yolo.off_the_shelf(
        weights_file=Path(settings["pretrained"]),
        sha256=settings["sha256"],
        image_size=settings["image_size"],
        validation_split=Path(snakemake.input.validation),
        predicted=Path(snakemake.input.predicted),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        run=run,
        validation_predictions=out["validation_predictions"],
        test_predictions=out["predictions"],
        facts=out["facts"],
    )
