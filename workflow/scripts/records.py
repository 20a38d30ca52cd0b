from pathlib import Path

from cxr import preflight
from cxr.journal import Journal

with Journal(snakemake.log[0], "records") as tell:
    preflight.write(
        label_table=Path(snakemake.input.labels),
        box_table=Path(snakemake.input.boxes),
        index=Path(snakemake.input.index),
        rejected_files=Path(snakemake.input.rejected_files),
        root=Path(snakemake.params.root),
        records_path=Path(snakemake.output.records),
        boxes_path=Path(snakemake.output.boxes),
        rejected_path=Path(snakemake.output.rejected),
        summary=Path(snakemake.output.summary),
        text=Path(snakemake.output.text),
        tell=tell,
    )
