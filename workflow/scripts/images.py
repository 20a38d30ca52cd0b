from pathlib import Path

from cxr import preflight
from cxr.journal import Journal

with Journal(snakemake.log[0], "images") as tell:
    preflight.decode_images(
        root=Path(snakemake.params.root),
        label_table=Path(snakemake.input.labels),
        box_table=Path(snakemake.input.boxes),
        folder=Path(snakemake.params.store),
        **snakemake.params.settings,
        workers=snakemake.threads,
        index=Path(snakemake.output.index),
        rejected=Path(snakemake.output.rejected),
        tell=tell,
    )
