from pathlib import Path

from cxr import yolo
from cxr.journal import Journal

settings = snakemake.params.settings
with Journal(snakemake.log[0], f"yolo off the shelf {snakemake.wildcards.protocol}") as tell:
    yolo.off_the_shelf(
        weights_file=Path(settings["pretrained"]),
        sha256=settings["sha256"],
        image_size=settings["image_size"],
        validation_split=Path(snakemake.input.validation),
        test_split=Path(snakemake.input.test),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        precision=snakemake.params.common["precision"],
        threads=snakemake.threads,
        validation_predictions=Path(snakemake.output.validation_predictions),
        test_predictions=Path(snakemake.output.predictions),
        facts=Path(snakemake.output.facts),
        tell=tell,
    )
