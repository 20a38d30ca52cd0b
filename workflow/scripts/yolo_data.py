import os
from pathlib import Path

from cxr.detectors.yolo import data_set
from cxr.runtime import jobs

job = snakemake.wildcards
with jobs.opened(snakemake, f"yolo data {job.protocol} fold {job.fold}", os.environ) as (tell, out):
    data_set.write(
        split_files={role: Path(snakemake.input[role]) for role in ("train", "validation")},
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        folder=Path(snakemake.params.folder),
        manifest=out["manifest"],
        tell=tell,
    )
