import os
from pathlib import Path

from cxr.inference import classes_and_cells
from cxr.inference import files as prediction_files
from cxr.inference.new_images import Prepared
from cxr.training import runs

with runs.of_job(snakemake, "predict classes", os.environ) as (run, out):
    classes_and_cells.classes(
        source_weights=Path(snakemake.input.source),
        metric=snakemake.params.metric,
        candidates=prediction_files.Candidates.of(snakemake),
        images=Prepared.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
