import os
from pathlib import Path

from cxr import box_prediction, runs

with runs.of_job(snakemake, "predict boxes", os.environ) as (run, out):
    box_prediction.boxes(
        models=[Path(path) for path in snakemake.input.models],
        results=Path(snakemake.params.results),
        image_size=snakemake.params.image_size,
        index=Path(snakemake.input.table),
        pixels=Path(snakemake.input.pixels),
        side=snakemake.params.side,
        run=run,
        predictions=out["predictions"],
        facts=out["facts"],
    )
