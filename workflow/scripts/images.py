import os
from pathlib import Path

from cxr.data import preflight
from cxr.runtime import jobs

with jobs.opened(snakemake, "images", os.environ) as (tell, out):
    preflight.decode_images(
        root=Path(snakemake.params.root),
        label_table=Path(snakemake.input.labels),
        box_table=Path(snakemake.input.boxes),
        folder=Path(snakemake.params.store),
        **snakemake.params.settings,
        **snakemake.params.data,
        workers=snakemake.threads,
        index=out["index"],
        rejected=out["rejected"],
        notes=out["notes"],
        tell=tell,
    )
