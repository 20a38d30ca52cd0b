from pathlib import Path

from cxr import baseline, classification
from cxr.journal import Journal
from cxr.settings import Augment, Schedule

settings = snakemake.params.settings
with Journal(snakemake.log[0], f"baseline {snakemake.wildcards.protocol} {snakemake.wildcards.activation}") as tell:
    baseline.train(
        inputs=classification.Inputs(
            train_split=Path(snakemake.input.train),
            validation_split=Path(snakemake.input.validation),
            index=Path(snakemake.input.index),
            store=Path(snakemake.params.store),
            image_size=snakemake.params.image_size,
            augment=Augment(**snakemake.params.augment),
        ),
        test_split=Path(snakemake.input.test),
        outputs=classification.Outputs(**{name: Path(path) for name, path in snakemake.output.items()}),
        activation=snakemake.wildcards.activation,
        network=snakemake.params.network,
        balanced=settings["balanced"],
        schedule=Schedule(**settings["training"]),
        select_by=snakemake.params.select_by,
        **snakemake.params.common,
        threads=snakemake.threads,
        tell=tell,
    )
