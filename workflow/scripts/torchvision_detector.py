import os
from pathlib import Path

from cxr.detectors import files as detector_files
from cxr.detectors import torchvision_detector
from cxr.settings import TorchvisionDetector
from cxr.training import runs

job = snakemake.wildcards
with runs.of_job(snakemake, f"torchvision detector {job.protocol} fold {job.fold}", os.environ) as (run, out):
    torchvision_detector.train(
        train_split=Path(snakemake.input.train),
        inputs=detector_files.BoxedImages.of(snakemake),
        outputs=detector_files.Trained(**out),
        settings=TorchvisionDetector(**snakemake.params.settings),
        run=run,
    )
