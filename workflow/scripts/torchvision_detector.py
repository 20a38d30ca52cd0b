import os
from pathlib import Path

from cxr import runs, torchvision_detector
from cxr.settings import TorchvisionDetector

job = snakemake.wildcards
with runs.of_job(snakemake, f"torchvision detector {job.protocol} fold {job.fold}", os.environ) as (run, out):
    torchvision_detector.train(
        train_split=Path(snakemake.input.train),
        validation_split=Path(snakemake.input.validation),
        predicted=Path(snakemake.input.predicted),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        settings=TorchvisionDetector(**snakemake.params.settings),
        run=run,
        model=out["model"],
        validation_predictions=out["validation_predictions"],
        test_predictions=out["predictions"],
        history=out["history"],
        facts=out["facts"],
    )
