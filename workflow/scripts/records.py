import os
from pathlib import Path

from cxr.data import preflight
from cxr.runtime import jobs

with jobs.opened(snakemake, "records", os.environ) as (tell, out):
    preflight.write(
        label_table=Path(snakemake.input.labels),
        box_table=Path(snakemake.input.boxes),
        lists=[Path(path) for path in snakemake.input.lists],
        index=Path(snakemake.input.index),
        rejected_files=Path(snakemake.input.rejected_files),
        image_notes=Path(snakemake.input.image_notes),
        root=Path(snakemake.params.root),
        records_path=out["records"],
        boxes_path=out["boxes"],
        rejected_path=out["rejected"],
        summary=out["summary"],
        text=out["text"],
        tell=tell,
    )
