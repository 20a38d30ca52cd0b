import os
from pathlib import Path

from cxr import detector_files, runs, yolo
from cxr.settings import Yolo

job = snakemake.wildcards
with runs.of_job(snakemake, f"yolo fine-tuned {job.protocol} fold {job.fold}", os.environ) as (run, out):
    yolo.fine_tune(
        data=Path(snakemake.params.data),
        manifest=Path(snakemake.input.data),
        settings=Yolo(**snakemake.params.settings),
        run_folder=Path(snakemake.params.run_folder),
        inputs=detector_files.Inputs.of(snakemake),
        outputs=detector_files.Trained(**out),
        run=run,
    )
