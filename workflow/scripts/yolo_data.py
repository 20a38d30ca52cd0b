from pathlib import Path

from cxr import yolo_data
from cxr.journal import Journal
from cxr.outputs import whole

with (
    Journal(snakemake.log[0], f"yolo data {snakemake.wildcards.protocol} fold {snakemake.wildcards.fold}") as tell,
    whole(snakemake.output.items()) as out,
):
    yolo_data.write(
        split_files={role: Path(snakemake.input[role]) for role in ("train", "validation")},
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        folder=Path(snakemake.params.folder),
        manifest=out["manifest"],
        tell=tell,
    )
