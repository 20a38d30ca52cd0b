import os
from pathlib import Path

from cxr.data import splits, voc
from cxr.runtime import jobs

job = snakemake.wildcards
with jobs.opened(snakemake, f"voc {job.protocol} fold {job.fold} {job.role}", os.environ) as (tell, out):
    manifest = voc.write_split(splits.read_split(Path(snakemake.input.split)), Path(snakemake.params.folder))
    manifest.to_csv(out["manifest"], index=False)
    tell(f"{len(manifest)} XML files in {snakemake.params.folder}")
