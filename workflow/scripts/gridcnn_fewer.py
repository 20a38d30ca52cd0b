import os
from pathlib import Path

from cxr.data import fewer_images
from cxr.runtime import jobs

job = snakemake.wildcards
with jobs.opened(snakemake, f"fewer images {job.protocol} draw {job.draw} fold {job.fold}", os.environ) as (tell, out):
    fewer_images.write(
        train=Path(snakemake.input.train),
        left_out=snakemake.params.left_out,
        seed=snakemake.params.seed,
        fewer=out["fewer"],
        tell=tell,
    )
