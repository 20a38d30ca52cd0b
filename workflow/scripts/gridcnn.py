import os
from pathlib import Path

from cxr.detectors import files as detector_files
from cxr.detectors.gridcnn import training as gridcnn
from cxr.settings import GridCNN
from cxr.training import runs

job = snakemake.wildcards
with runs.of_job(snakemake, f"grid CNN {job.protocol} fold {job.fold}", os.environ) as (run, out):
    gridcnn.train(
        train_split=Path(snakemake.input.train),
        train_labels=next(map(Path, snakemake.input.get("train_labels", [])), None),
        pretrained=next(map(Path, snakemake.input.get("pretrained", [])), None),
        inputs=detector_files.BoxedImages.of(snakemake),
        outputs=detector_files.Trained(**out),
        settings=GridCNN(**snakemake.params.settings),
        run=run,
    )
