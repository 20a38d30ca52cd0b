# YOLO of ultralytics: its data set, off the shelf, and fine-tuned (paper, sections 2.3.2 and 2.3.3).


rule yolo_data:
    input:
        index=ancient(rules.images.output.index),
        train=of_boxes("train"),
        validation=of_boxes("validation"),
    output:
        manifest="<results>/yolo/{protocol}/fold{fold}/data.csv",
    log:
        "<logs>/yolo_data/{protocol}_fold{fold}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(30),
    params:
        folder=subpath(output.manifest, strip_suffix=".csv"),
        store=STORE,
        box_size=SETTINGS.images.box_size,
        code=code("yolo_data"),
    script:
        "../workflow/scripts/yolo_data.py"


# Requested only if the configuration names COCO weights; otherwise the report says why it is missing.
rule yolo_off_the_shelf:
    input:
        index=ancient(rules.images.output.index),
        weights=lambda wildcards: protocol_of(wildcards).yolo.pretrained,
        validation=of_boxes("validation"),
        predicted=of_boxes("test_images"),
    output:
        validation_predictions="<results>/yolo_off_the_shelf/{protocol}/fold{fold}/validation.csv",
        predictions="<results>/yolo_off_the_shelf/{protocol}/fold{fold}/predictions.csv",
        facts="<results>/yolo_off_the_shelf/{protocol}/fold{fold}/facts.json",
    log:
        "<logs>/yolo_off_the_shelf/{protocol}_fold{fold}.log",
    benchmark:
        "<benchmarks>/yolo_off_the_shelf/{protocol}_fold{fold}.tsv"
    conda:
        "../envs/detection.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/yolo_off_the_shelf/{{protocol}}_fold{{fold}}",
        store=STORE,
        box_size=SETTINGS.images.box_size,
        settings=lambda wildcards: chosen(protocol_of(wildcards).yolo, "pretrained", "sha256", "image_size"),
        code=code("yolo_off_the_shelf"),
    script:
        "../workflow/scripts/yolo_off_the_shelf.py"


rule yolo_finetuned:
    input:
        index=ancient(rules.images.output.index),
        weights=lambda wildcards: [path for path in [protocol_of(wildcards).yolo.pretrained] if path],
        data=rules.yolo_data.output.manifest,
        validation=of_boxes("validation"),
        predicted=of_boxes("test_images"),
    output:
        model="<results>/yolo_finetuned/{protocol}/fold{fold}/model.pt",
        validation_predictions="<results>/yolo_finetuned/{protocol}/fold{fold}/validation.csv",
        predictions="<results>/yolo_finetuned/{protocol}/fold{fold}/predictions.csv",
        history="<results>/yolo_finetuned/{protocol}/fold{fold}/history.csv",
        facts="<results>/yolo_finetuned/{protocol}/fold{fold}/facts.json",
    log:
        "<logs>/yolo_finetuned/{protocol}_fold{fold}.log",
    benchmark:
        "<benchmarks>/yolo_finetuned/{protocol}_fold{fold}.tsv"
    conda:
        "../envs/detection.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(720),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/yolo_finetuned/{{protocol}}_fold{{fold}}",
        store=STORE,
        box_size=SETTINGS.images.box_size,
        data=subpath(input.data, strip_suffix=".csv"),
        run_folder=subpath(output.model, parent=True),
        settings=lambda wildcards: protocol_of(wildcards).yolo.model_dump(
            exclude={"enabled", "confidence", "tune_confidence"}
        ),
        code=code("yolo_finetuned", "detectors/yolo/yolo-nano.yaml"),
    script:
        "../workflow/scripts/yolo_finetuned.py"
