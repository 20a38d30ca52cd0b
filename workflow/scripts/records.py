import os
from pathlib import Path

from cxr.data import preflight
from cxr.runtime import jobs

with jobs.opened(snakemake, "records", os.environ) as (tell, out):
    preflight.write(
        tables=preflight.Tables(Path(snakemake.input.labels), Path(snakemake.input.boxes)),
        lists=[Path(path) for path in snakemake.input.lists],
        images=preflight.ImageOutputs(
            index=Path(snakemake.input.index),
            rejected=Path(snakemake.input.rejected_files),
            notes=Path(snakemake.input.image_notes),
        ),
        root=Path(snakemake.params.root),
        outputs=preflight.RecordOutputs(**out),
        tell=tell,
    )
