from pathlib import Path

from cxr import splitting
from cxr.journal import Journal

with Journal(snakemake.log[0], f"split {snakemake.wildcards.protocol} s={snakemake.wildcards.size}") as tell:
    splitting.write_classification(
        records=Path(snakemake.input.records),
        lists=[Path(path) for path in snakemake.input.lists],
        size=snakemake.wildcards.size,
        seed=snakemake.params.seed,
        settings=snakemake.params.rule,
        outputs={name: Path(path) for name, path in snakemake.output.items()},
        tell=tell,
    )
