import os
from pathlib import Path

from cxr.inference import prepare
from cxr.runtime import jobs

with jobs.opened(snakemake, "predict images", os.environ) as (tell, out):
    prepare.prepare(
        folder=Path(snakemake.params.folder),
        bits=snakemake.params.bits,
        sides=[(snakemake.params.size, out["small"]), (snakemake.params.box_size, out["large"])],
        index=out["table"],
        rejected=out["rejected"],
        note=out["note"],
        tell=tell,
    )
