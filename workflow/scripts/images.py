import os
from pathlib import Path

from cxr.data import image_cache, preflight
from cxr.runtime import jobs

with jobs.opened(snakemake, "images", os.environ) as (tell, out):
    preflight.decode_images(
        images=preflight.ImageFolder(Path(snakemake.params.root), **snakemake.params.data),
        tables=preflight.Tables(Path(snakemake.input.labels), Path(snakemake.input.boxes)),
        cache=image_cache.ImageCache(Path(snakemake.params.store), **snakemake.params.settings),
        workers=snakemake.threads,
        outputs=preflight.ImageOutputs(**out),
        tell=tell,
    )
