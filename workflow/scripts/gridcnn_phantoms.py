from pathlib import Path

from cxr import pretraining
from cxr.journal import Journal, Progress
from cxr.outputs import whole

with (
    Journal(snakemake.log[0], f"grid CNN phantoms {snakemake.wildcards.protocol}") as tell,
    whole(snakemake.output.items()) as out,
):
    pretraining.draw(
        Path(out["drawn"]),
        **snakemake.params.settings,
        seed=snakemake.params.seed,
        workers=snakemake.threads,
        progress=Progress(tell, "phantoms"),
    )
