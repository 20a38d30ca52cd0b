from pathlib import Path

from cxr.phantoms import data_set
from cxr.runtime import seals
from cxr.runtime.journal import Journal, Progress

settings = snakemake.params.settings
with Journal(snakemake.log[0], "phantoms") as tell:
    data_set.write_data_set(
        Path(snakemake.params.root),
        **settings,
        seed=snakemake.params.seed,
        workers=snakemake.threads,
        progress=Progress(tell, "images"),
    )
    seals.write(snakemake.output)
