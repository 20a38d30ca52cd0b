from pathlib import Path

from cxr import sheets
from cxr.journal import Journal
from cxr.outputs import whole

with Journal(snakemake.log[0], "examples") as tell, whole(snakemake.output.items()) as out:
    sheets.write_examples(
        records=Path(snakemake.input.records),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        size=snakemake.params.size,
        seed=snakemake.params.seed,
        picture=out["picture"],
        tell=tell,
    )
