from pathlib import Path

from cxr import gridcnn
from cxr.journal import Journal
from cxr.settings import GridCNN

with Journal(snakemake.log[0], f"grid CNN {snakemake.wildcards.protocol}") as tell:
    gridcnn.train(
        train_split=Path(snakemake.input.train),
        validation_split=Path(snakemake.input.validation),
        test_split=Path(snakemake.input.test),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        settings=GridCNN(**snakemake.params.settings),
        **snakemake.params.common,
        threads=snakemake.threads,
        model=Path(snakemake.output.model),
        validation_predictions=Path(snakemake.output.validation_predictions),
        test_predictions=Path(snakemake.output.predictions),
        history=Path(snakemake.output.history),
        facts=Path(snakemake.output.facts),
        tell=tell,
    )
