import os

from cxr.detectors import files as detector_files
from cxr.detectors.yolov2 import experiments
from cxr.settings import YoloV2
from cxr.training import runs

job = snakemake.wildcards
with runs.of_job(snakemake, f"yolov2 off the shelf {job.protocol} fold {job.fold}", os.environ) as (run, out):
    experiments.off_the_shelf(
        settings=YoloV2(**snakemake.params.settings),
        inputs=detector_files.BoxedImages.of(snakemake),
        outputs=detector_files.Outputs(**out),
        run=run,
    )
