import os
from pathlib import Path

from cxr.detectors.gridcnn import pretraining
from cxr.runtime import jobs
from cxr.runtime.journal import Progress

with jobs.opened(snakemake, f"grid CNN phantoms {snakemake.wildcards.protocol}", os.environ) as (tell, out):
    pretraining.draw(
        Path(out["drawn"]),
        **snakemake.params.settings,
        seed=snakemake.params.seed,
        workers=snakemake.threads,
        progress=Progress(tell, "phantoms"),
    )
