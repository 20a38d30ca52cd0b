from pathlib import Path

from cxr import preflight
from cxr.journal import Journal
from cxr.outputs import whole

with Journal(snakemake.log[0], "images") as tell, whole(snakemake.output.items()) as out:
    preflight.decode_images(
        root=Path(snakemake.params.root),
        label_table=Path(snakemake.input.labels),
        box_table=Path(snakemake.input.boxes),
        folder=Path(snakemake.params.store),
        **snakemake.params.settings,
        **snakemake.params.data,
        workers=snakemake.threads,
        index=out["index"],
        rejected=out["rejected"],
        notes=out["notes"],
        tell=tell,
    )
