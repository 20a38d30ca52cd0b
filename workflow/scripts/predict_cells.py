import os

from cxr.inference import classes_and_cells
from cxr.inference import files as prediction_files
from cxr.training import runs

with runs.of_job(snakemake, "predict cells", os.environ) as (run, out):
    classes_and_cells.cells(
        inputs=prediction_files.Inputs.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
