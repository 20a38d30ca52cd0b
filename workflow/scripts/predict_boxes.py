import os

from cxr.inference import detections
from cxr.inference import files as prediction_files
from cxr.inference.new_images import Prepared
from cxr.training import runs

with runs.of_job(snakemake, "predict boxes", os.environ) as (run, out):
    detections.boxes(
        image_size=snakemake.params.image_size,
        candidates=prediction_files.Candidates.of(snakemake),
        images=Prepared.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
