import os
from pathlib import Path

from cxr import detector_files, runs, yolo

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"yolo off the shelf {job.protocol} fold {job.fold}", os.environ) as (run, out):
    yolo.off_the_shelf(
        weights_file=Path(settings["pretrained"]),
        sha256=settings["sha256"],
        image_size=settings["image_size"],
        inputs=detector_files.Inputs.of(snakemake),
        outputs=detector_files.Outputs(**out),
        run=run,
    )
