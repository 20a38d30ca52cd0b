from pathlib import Path

from cxr import splitting
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import Split

with (
    Journal(snakemake.log[0], f"splits {snakemake.wildcards.protocol}") as tell,
    whole(snakemake.output.items()) as out,
):
    splitting.write_all(
        records=Path(snakemake.input.records),
        box_table=Path(snakemake.input.table),
        lists=[Path(path) for path in snakemake.input.lists],
        sizes=snakemake.params.sizes,
        seed=snakemake.params.seed,
        rule=Split(**snakemake.params.rule),
        folder=out["folder"],
        tell=tell,
    )
