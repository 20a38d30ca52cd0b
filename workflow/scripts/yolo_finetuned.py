import os
from pathlib import Path

from cxr.detectors import files as detector_files
from cxr.detectors.yolo import experiments
from cxr.settings import Yolo
from cxr.training import runs

job = snakemake.wildcards
with runs.of_job(snakemake, f"yolo fine-tuned {job.protocol} fold {job.fold}", os.environ) as (run, out):
    experiments.fine_tune(
        data=Path(snakemake.params.data),
        manifest=Path(snakemake.input.data),
        settings=Yolo(**snakemake.params.settings),
        run_folder=Path(snakemake.params.run_folder),
        inputs=detector_files.BoxedImages.of(snakemake),
        outputs=detector_files.Trained(**out),
        run=run,
    )
