import os
from pathlib import Path

from cxr import runs, yolo
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import Yolo

with (
    Journal(
        snakemake.log[0], f"yolo fine-tuned {snakemake.wildcards.protocol} fold {snakemake.wildcards.fold}"
    ) as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    whole(snakemake.output.items()) as out,
):
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
