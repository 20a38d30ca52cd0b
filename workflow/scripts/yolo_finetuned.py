import os
from pathlib import Path

from cxr import runs, yolo
from cxr.settings import Yolo

job = snakemake.wildcards
with runs.of_job(snakemake, f"yolo fine-tuned {job.protocol} fold {job.fold}", os.environ) as (run, out):
    yolo.fine_tune(
        data=Path(snakemake.params.data),
        settings=Yolo(**snakemake.params.settings),
        run_folder=Path(snakemake.params.run_folder),
        validation_split=Path(snakemake.input.validation),
        predicted=Path(snakemake.input.predicted),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        run=run,
        model=out["model"],
        validation_predictions=out["validation_predictions"],
        test_predictions=out["predictions"],
        history=out["history"],
        facts=out["facts"],
    )
