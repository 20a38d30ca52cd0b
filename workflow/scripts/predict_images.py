from pathlib import Path

from cxr import new_images
from cxr.journal import Journal
from cxr.outputs import whole

with Journal(snakemake.log[0], "predict images") as tell, whole(snakemake.output.items()) as out:
    new_images.prepare(
        folder=Path(snakemake.params.folder),
        bits=snakemake.params.bits,
        sides=[(snakemake.params.size, out["small"]), (snakemake.params.box_size, out["large"])],
        index=out["table"],
        rejected=out["rejected"],
        note=out["note"],
        tell=tell,
    )
