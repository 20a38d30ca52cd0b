# External validation (`snakemake validate`): the study's best classifier on the labelled images of another data set. The
# images are prepared and predicted as by `predict`.


include: "inputs/validate.smk"


use rule predict_images as validate_images with:
    output:
        note=f"{VALIDATED}/folder.txt",  # first, so that no other file is there without an owner
        small=f"{VALIDATED}/pixels/classifiers.u8",
        large=f"{VALIDATED}/pixels/detectors.u8",
        rejected=f"{VALIDATED}/rejected.csv",
        table=f"{VALIDATED}/images.csv",
    log:
        f"<logs>/validate/{EXTERNAL}/images.log",
    params:
        folder=lambda wildcards: SETTINGS.validate.folder,
        files=lambda wildcards: external_fingerprint(),
        bits=SETTINGS.validate.bits,
        size=SETTINGS.images.size,
        box_size=SETTINGS.images.box_size,
        decoders=lambda wildcards: decoders.installed(),
        code=code("predict_images"),


use rule predict_classes as validate_classes with:
    input:
        models=of_classifiers(VALIDATING, "model.pt"),
        facts=of_classifiers(VALIDATING, "facts.json"),
        histories=of_classifiers(VALIDATING, "history.csv"),
        source=ancient(rules.source_weights.output.model),
        table=rules.validate_images.output.table,
        pixels=rules.validate_images.output.small,
    output:
        predictions=f"{VALIDATED}/classes.csv",
        facts=f"{VALIDATED}/classes.json",
    log:
        f"<logs>/validate/{EXTERNAL}/classes.log",
    benchmark:
        f"<benchmarks>/validate/{EXTERNAL}/classes.tsv"
    params:
        common=COMMON,
        state=f"{RESULTS}/state/validate_classes",
        results=lambda wildcards: str(RESULTS),
        side=SETTINGS.images.size,
        metric=getattr(SETTINGS, VALIDATING).transfer.select_by,
        code=code("predict_classes"),


rule validate_cases:
    input:
        labels=external_table,
        names=[path for path in [SETTINGS.validate.names] if path],
        table=rules.validate_images.output.table,
        train=of_validating("train"),
    output:
        cases=f"{VALIDATED}/cases.csv",
        summary=f"{VALIDATED}/summary.json",
    log:
        f"<logs>/validate/{EXTERNAL}/cases.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        one_image_per_patient=SETTINGS.validate.one_image_per_patient,
        code=code("validate_cases"),
    script:
        "../workflow/scripts/validate_cases.py"


rule validate_metrics:
    input:
        cases=rules.validate_cases.output.cases,
        summary=rules.validate_cases.output.summary,
        classes=rules.validate_classes.output.predictions,
        train=of_validating("train"),
        train_metadata=of_validating("train_metadata"),
    output:
        table=f"{VALIDATED}/metrics.csv",
        validity=f"{VALIDATED}/validity.csv",
    log:
        f"<logs>/validate/{EXTERNAL}/metrics.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        protocol=VALIDATING,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("validate_metrics"),
    script:
        "../workflow/scripts/validate_metrics.py"


# The boxes of the other data set, if it has any, and the study's detectors on them.
rule validate_truth:
    input:
        boxes=lambda wildcards: SETTINGS.validate.boxes
        or sys.exit("Error: validate.boxes is empty: name the list of boxes"),
        names=[path for path in [SETTINGS.validate.names] if path],
        table=rules.validate_images.output.table,
        cases=rules.validate_cases.output.cases,
    output:
        truth=f"{VALIDATED}/truth.csv",
    log:
        f"<logs>/validate/{EXTERNAL}/truth.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        side=SETTINGS.validate.box_side,
        code=code("validate_truth"),
    script:
        "../workflow/scripts/validate_truth.py"


use rule predict_boxes as validate_boxes with:
    input:
        models=of_detectors(VALIDATING, box_choice(VALIDATING), "model.pt"),
        facts=of_detectors(VALIDATING, box_choice(VALIDATING), "facts.json"),
        histories=of_detectors(VALIDATING, box_choice(VALIDATING), "history.csv"),
        table=rules.validate_images.output.table,
        pixels=rules.validate_images.output.large,
    output:
        predictions=f"{VALIDATED}/boxes.csv",
        facts=f"{VALIDATED}/boxes.json",
    log:
        f"<logs>/validate/{EXTERNAL}/boxes.log",
    benchmark:
        f"<benchmarks>/validate/{EXTERNAL}/boxes.tsv"
    params:
        common=COMMON,
        state=f"{RESULTS}/state/validate_boxes",
        results=lambda wildcards: str(RESULTS),
        side=SETTINGS.images.box_size,
        image_size=getattr(SETTINGS, VALIDATING).yolo.image_size,
        code=code("predict_boxes"),


use rule predict_cells as validate_cells with:
    input:
        models=of_detectors(VALIDATING, ["gridcnn"], "model.pt"),
        facts=of_detectors(VALIDATING, ["gridcnn"], "facts.json"),
        histories=of_detectors(VALIDATING, ["gridcnn"], "history.csv"),
        table=rules.validate_images.output.table,
        pixels=rules.validate_images.output.large,
    output:
        predictions=f"{VALIDATED}/cells.npz",
        facts=f"{VALIDATED}/cells.json",
    log:
        f"<logs>/validate/{EXTERNAL}/cells.log",
    benchmark:
        f"<benchmarks>/validate/{EXTERNAL}/cells.tsv"
    params:
        common=COMMON,
        state=f"{RESULTS}/state/validate_cells",
        results=lambda wildcards: str(RESULTS),
        side=SETTINGS.images.box_size,
        code=code("predict_cells"),


rule validate_metrics_boxes:
    input:
        truth=rules.validate_truth.output.truth,
        table=rules.validate_images.output.table,
        predictions=rules.validate_boxes.output.predictions,
        facts=rules.validate_boxes.output.facts,
        thresholds=[f"<results>/metrics/{VALIDATING}/{name}_threshold.json" for name in box_choice(VALIDATING)],
        train=lambda wildcards: [split_file(VALIDATING, f"boxes_fold{fold}", "train") for fold in folds_of(VALIDATING)],
    output:
        metrics=f"{VALIDATED}/boxes_metrics.csv",
    log:
        f"<logs>/validate/{EXTERNAL}/boxes_metrics.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        protocol=VALIDATING,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("validate_detector"),
    script:
        "../workflow/scripts/validate_detector.py"


use rule validate_metrics_boxes as validate_metrics_cells with:
    input:
        truth=rules.validate_truth.output.truth,
        table=rules.validate_images.output.table,
        predictions=rules.validate_cells.output.predictions,
        facts=rules.validate_cells.output.facts,
        thresholds=[f"<results>/metrics/{VALIDATING}/gridcnn_threshold.json"],
        train=lambda wildcards: [split_file(VALIDATING, f"boxes_fold{fold}", "train") for fold in folds_of(VALIDATING)],
    output:
        metrics=f"{VALIDATED}/cells_metrics.csv",
    log:
        f"<logs>/validate/{EXTERNAL}/cells_metrics.log",


rule validate_report:
    input:
        table=rules.validate_metrics.output.table,
        validity=rules.validate_metrics.output.validity,
        summary=rules.validate_cases.output.summary,
        classes=rules.validate_classes.output.facts,
        detectors=box_tables(),
    output:
        page=report(f"{VALIDATED}/report.html", category="Validation", labels={"detector": "external validation"}),
    log:
        f"<logs>/validate/{EXTERNAL}/report.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        name=EXTERNAL,
        run=SETTINGS.name,
        evaluation=SETTINGS.evaluation.model_dump(),
        code=code("validate_report", *TEMPLATES, "report/validation.html.j2"),
    script:
        "../workflow/scripts/validate_report.py"
