import os
from pathlib import Path

from cxr.detectors import files as detector_files
from cxr.detectors.yolov2 import experiments
from cxr.settings import YoloV2
from cxr.training import runs

job = snakemake.wildcards
with runs.of_job(snakemake, f"yolov2 fine-tuned {job.protocol} fold {job.fold}", os.environ) as (run, out):
    experiments.fine_tune(
        train_split=Path(snakemake.input.train),
        settings=YoloV2(**snakemake.params.settings),
        inputs=detector_files.BoxedImages.of(snakemake),
        outputs=detector_files.Trained(**out),
        run=run,
    )
