from pathlib import Path

from cxr import phantoms, seals
from cxr.journal import Journal, Progress

settings = snakemake.params.settings
with Journal(snakemake.log[0], "phantoms") as tell:
    phantoms.write_data_set(
        Path(snakemake.params.root),
        **settings,
        seed=snakemake.params.seed,
        workers=snakemake.threads,
        progress=Progress(tell, "images"),
    )
    seals.write(snakemake.output)
