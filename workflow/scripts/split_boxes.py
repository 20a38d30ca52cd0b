from pathlib import Path

from cxr import splitting
from cxr.journal import Journal

with Journal(snakemake.log[0], f"box split {snakemake.wildcards.protocol}") as tell:
    splitting.write_boxes(
        records=Path(snakemake.input.records),
        box_table=Path(snakemake.input.table),
        seed=snakemake.params.seed,
        settings=snakemake.params.rule,
        outputs={name: Path(path) for name, path in snakemake.output.items()},
        tell=tell,
    )
