import os

from cxr.inference import classes_and_cells
from cxr.inference import files as prediction_files
from cxr.inference.new_images import Prepared
from cxr.training import runs

with runs.of_job(snakemake, "predict cells", os.environ) as (run, out):
    classes_and_cells.cells(
        candidates=prediction_files.Candidates.of(snakemake),
        images=Prepared.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
