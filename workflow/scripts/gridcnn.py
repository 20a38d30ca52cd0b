import os
from pathlib import Path

from cxr import gridcnn, runs
from cxr.settings import GridCNN

job = snakemake.wildcards
with runs.of_job(snakemake, f"grid CNN {job.protocol} fold {job.fold}", os.environ) as (run, out):
    gridcnn.train(
        train_split=Path(snakemake.input.train),
        train_labels=next(map(Path, snakemake.input.get("train_labels", [])), None),
        validation_split=Path(snakemake.input.validation),
        predicted=Path(snakemake.input.predicted),
        pretrained=next(map(Path, snakemake.input.get("pretrained", [])), None),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        settings=GridCNN(**snakemake.params.settings),
        run=run,
        model=out["model"],
        validation_predictions=out["validation_predictions"],
        test_predictions=out["predictions"],
        history=out["history"],
        facts=out["facts"],
    )
