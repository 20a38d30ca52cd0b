from pathlib import Path

from cxr import sheets
from cxr.journal import Journal
from cxr.outputs import whole

with Journal(snakemake.log[0], "sheet") as tell, whole(snakemake.output.items()) as out:
    sheets.write_detections(
        predictions=Path(snakemake.input.predictions),
        threshold=Path(snakemake.input.threshold),
        split=Path(snakemake.input.test),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        picture=out["picture"],
        tell=tell,
    )
