# New images through the best models of a finished study (`snakemake predict`). Its inputs are the models, so that on a
# finished study these rules alone run, and on an unfinished one what is missing is trained first.


include: "inputs/predict.smk"


rule predict_images:
    output:
        note=f"{PREDICTED}/folder.txt",  # first, so that no other file is there without an owner
        small=f"{PREDICTED}/pixels/classifiers.u8",
        large=f"{PREDICTED}/pixels/detectors.u8",
        rejected=f"{PREDICTED}/rejected.csv",
        table=f"{PREDICTED}/images.csv",
    log:
        f"<logs>/predict/{NEW}/images.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        folder=lambda wildcards: SETTINGS.predict.folder,
        files=lambda wildcards: new_images_fingerprint(),
        bits=SETTINGS.predict.bits,
        size=SETTINGS.images.size,
        box_size=SETTINGS.images.box_size,
        decoders=lambda wildcards: decoders.installed(),  # a file set aside may be readable with another
        code=code("predict_images"),
    script:
        "../workflow/scripts/predict_images.py"


rule predict_classes:
    input:
        models=of_classifiers(PREDICTING, "model.pt"),
        facts=of_classifiers(PREDICTING, "facts.json"),
        histories=of_classifiers(PREDICTING, "history.csv"),
        source=ancient(rules.source_weights.output.model),
        table=rules.predict_images.output.table,
        pixels=rules.predict_images.output.small,
    output:
        predictions=f"{PREDICTED}/classes.csv",
        facts=f"{PREDICTED}/classes.json",
    log:
        f"<logs>/predict/{NEW}/classes.log",
    benchmark:
        f"<benchmarks>/predict/{NEW}/classes.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/predict_classes",
        results=lambda wildcards: str(RESULTS),
        side=SETTINGS.images.size,
        metric=getattr(SETTINGS, PREDICTING).transfer.select_by,
        code=code("predict_classes"),
    script:
        "../workflow/scripts/predict_classes.py"


rule predict_boxes:
    input:
        models=of_detectors(PREDICTING, BOX_CHOICE, "model.pt"),
        facts=of_detectors(PREDICTING, BOX_CHOICE, "facts.json"),
        histories=of_detectors(PREDICTING, BOX_CHOICE, "history.csv"),
        table=rules.predict_images.output.table,
        pixels=rules.predict_images.output.large,
    output:
        predictions=f"{PREDICTED}/boxes.csv",
        facts=f"{PREDICTED}/boxes.json",
    log:
        f"<logs>/predict/{NEW}/boxes.log",
    benchmark:
        f"<benchmarks>/predict/{NEW}/boxes.tsv"
    conda:
        "../envs/detection.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/predict_boxes",
        results=lambda wildcards: str(RESULTS),
        side=SETTINGS.images.box_size,
        image_size=getattr(SETTINGS, PREDICTING).yolo.image_size,
        code=code("predict_boxes"),
    script:
        "../workflow/scripts/predict_boxes.py"


rule predict_cells:
    input:
        models=of_detectors(PREDICTING, ["gridcnn"], "model.pt"),
        facts=of_detectors(PREDICTING, ["gridcnn"], "facts.json"),
        histories=of_detectors(PREDICTING, ["gridcnn"], "history.csv"),
        table=rules.predict_images.output.table,
        pixels=rules.predict_images.output.large,
    output:
        predictions=f"{PREDICTED}/cells.npz",
        facts=f"{PREDICTED}/cells.json",
    log:
        f"<logs>/predict/{NEW}/cells.log",
    benchmark:
        f"<benchmarks>/predict/{NEW}/cells.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/predict_cells",
        results=lambda wildcards: str(RESULTS),
        side=SETTINGS.images.box_size,
        code=code("predict_cells"),
    script:
        "../workflow/scripts/predict_cells.py"


rule predict_overlays:
    input:
        table=rules.predict_images.output.table,
        pixels=rules.predict_images.output.large,
        classes=rules.predict_classes.output.predictions,
        boxes=rules.predict_boxes.output.predictions,
        cells=rules.predict_cells.output.predictions,
        classes_facts=rules.predict_classes.output.facts,
        boxes_facts=rules.predict_boxes.output.facts,
        cells_facts=rules.predict_cells.output.facts,
        thresholds=[
            f"<results>/metrics/{PREDICTING}/{detector}_threshold.json" for detector in [*BOX_CHOICE, "gridcnn"]
        ],
    output:
        folder=directory(f"{PREDICTED}/overlays"),
        provenance=f"{PREDICTED}/provenance.json",
    log:
        f"<logs>/predict/{NEW}/overlays.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        name=SETTINGS.name,
        side=SETTINGS.images.box_size,
        code=code("predict_overlays"),
    script:
        "../workflow/scripts/predict_overlays.py"
