from pathlib import Path

from cxr import classification, transfer
from cxr.journal import Journal
from cxr.settings import Augment, Schedule

settings = dict(snakemake.params.settings)
wildcards = snakemake.wildcards
with Journal(snakemake.log[0], f"transfer {wildcards.protocol} c={wildcards.layers} s={wildcards.size}") as tell:
    transfer.train(
        inputs=classification.Inputs(
            train_split=Path(snakemake.input.train),
            validation_split=Path(snakemake.input.validation),
            index=Path(snakemake.input.index),
            store=Path(snakemake.params.store),
            image_size=snakemake.params.image_size,
            augment=Augment(**snakemake.params.augment),
        ),
        predict_split=Path(snakemake.input.validation),
        outputs=classification.Outputs(**{name: Path(path) for name, path in snakemake.output.items()}),
        source_weights=Path(snakemake.input.source),
        network=snakemake.params.network,
        layers=int(wildcards.layers),
        schedule=Schedule(**settings.pop("schedule")),
        **settings,
        **snakemake.params.common,
        threads=snakemake.threads,
        tell=tell,
    )
