import os
from pathlib import Path

from cxr.inference import box_validation
from cxr.runtime import jobs

with jobs.opened(snakemake, "validate truth", os.environ) as (tell, out):
    box_validation.write_boxes(
        boxes=Path(snakemake.input.boxes),
        names=next(map(Path, snakemake.input.names), None),
        side=snakemake.params.side,
        images=Path(snakemake.input.table),
        cases=Path(snakemake.input.cases),
        truth=out["truth"],
        tell=tell,
    )
