import os
from pathlib import Path

from cxr.inference import overlays
from cxr.inference.new_images import Prepared
from cxr.runtime import jobs

with jobs.opened(snakemake, "predict overlays", os.environ) as (tell, out):
    overlays.write(
        name=snakemake.params.name,
        images=Prepared.of(snakemake),
        predictions=overlays.Predictions(
            classes=Path(snakemake.input.classes),
            boxes=Path(snakemake.input.boxes),
            cells=Path(snakemake.input.cells),
            facts={kind: Path(snakemake.input[f"{kind}_facts"]) for kind in ("classes", "boxes", "cells")},
        ),
        thresholds=[Path(path) for path in snakemake.input.thresholds],
        folder=out["folder"],
        provenance=out["provenance"],
        tell=tell,
    )
