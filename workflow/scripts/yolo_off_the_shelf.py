import os
from pathlib import Path

from cxr.detectors import files as detector_files
from cxr.detectors.yolo import experiments
from cxr.training import runs

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"yolo off the shelf {job.protocol} fold {job.fold}", os.environ) as (run, out):
    experiments.off_the_shelf(
        weights_file=Path(settings["pretrained"]),
        sha256=settings["sha256"],
        image_size=settings["image_size"],
        inputs=detector_files.BoxedImages.of(snakemake),
        outputs=detector_files.Outputs(**out),
        run=run,
    )
