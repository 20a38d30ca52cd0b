import os
from pathlib import Path

from cxr import detector_files, gridcnn, runs
from cxr.settings import GridCNN

job = snakemake.wildcards
with runs.of_job(snakemake, f"grid CNN {job.protocol} fold {job.fold}", os.environ) as (run, out):
    gridcnn.train(
        train_split=Path(snakemake.input.train),
        train_labels=next(map(Path, snakemake.input.get("train_labels", [])), None),
        pretrained=next(map(Path, snakemake.input.get("pretrained", [])), None),
        inputs=detector_files.Inputs.of(snakemake),
        outputs=detector_files.Trained(**out),
        settings=GridCNN(**snakemake.params.settings),
        run=run,
    )
