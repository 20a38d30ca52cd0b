import os
from pathlib import Path

from cxr import runs, yolo
from cxr.journal import Journal
from cxr.outputs import whole

settings = snakemake.params.settings
with (
    Journal(
        snakemake.log[0], f"yolo off the shelf {snakemake.wildcards.protocol} fold {snakemake.wildcards.fold}"
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
    yolo.off_the_shelf(
        weights_file=Path(settings["pretrained"]),
        sha256=settings["sha256"],
        image_size=settings["image_size"],
        validation_split=Path(snakemake.input.validation),
        predicted=Path(snakemake.input.predicted),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        run=run,
        validation_predictions=out["validation_predictions"],
        test_predictions=out["predictions"],
        facts=out["facts"],
    )
