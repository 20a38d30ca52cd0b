from pathlib import Path

from cxr import sheets
from cxr.journal import Journal

with Journal(snakemake.log[0], "examples"):
    sheets.write_examples(
        records=Path(snakemake.input.records),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        size=snakemake.params.size,
        seed=snakemake.params.seed,
        picture=Path(snakemake.output[0]),
    )
