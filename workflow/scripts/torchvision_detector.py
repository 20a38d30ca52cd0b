import os
from pathlib import Path

from cxr import runs, torchvision_detector
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import TorchvisionDetector

with (
    Journal(snakemake.log[0], f"torchvision detector {snakemake.wildcards.protocol}") as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    whole(snakemake.output.items()) as out,
):
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
