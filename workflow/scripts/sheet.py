from pathlib import Path

from cxr import sheets
from cxr.journal import Journal
from cxr.outputs import whole

with Journal(snakemake.log[0], "sheet") as tell, whole(snakemake.output.items()) as out:
    sheets.write_detections(
        predictions=[Path(path) for path in snakemake.input.predictions],
        thresholds=Path(snakemake.input.thresholds),
        test_splits=[Path(path) for path in snakemake.input.test],
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        picture=out["picture"],
        failures=out["failures"],
        maps=out["maps"],
        tell=tell,
    )
