import os
from pathlib import Path

from cxr.data import split_files
from cxr.runtime import jobs
from cxr.settings import Split

with jobs.opened(snakemake, f"splits {snakemake.wildcards.protocol}", os.environ) as (tell, out):
    split_files.write_all(
        records=Path(snakemake.input.records),
        box_table=Path(snakemake.input.table),
        lists=[Path(path) for path in snakemake.input.lists],
        sizes=snakemake.params.sizes,
        draws=[tuple(each) for each in snakemake.params.draws],
        seed=snakemake.params.seed,
        rule=Split(**snakemake.params.rule),
        folder=out["folder"],
        tell=tell,
    )
