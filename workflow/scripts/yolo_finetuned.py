from pathlib import Path

from cxr import yolo
from cxr.journal import Journal
from cxr.settings import Yolo

with Journal(snakemake.log[0], f"yolo fine-tuned {snakemake.wildcards.protocol}") as tell:
    yolo.fine_tune(
        data=Path(snakemake.params.data),
        settings=Yolo(**snakemake.params.settings),
        run_folder=Path(snakemake.params.run_folder),
        validation_split=Path(snakemake.input.validation),
        test_split=Path(snakemake.input.test),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        **snakemake.params.common,
        threads=snakemake.threads,
        model=Path(snakemake.output.model),
        validation_predictions=Path(snakemake.output.validation_predictions),
        test_predictions=Path(snakemake.output.predictions),
        history=Path(snakemake.output.history),
        facts=Path(snakemake.output.facts),
        tell=tell,
    )
