# YOLOv2, the paper's own network: off the shelf, and fine-tuned (paper, sections 2.3.2 and 2.3.3); requested only if the
# configuration enables it, and off the shelf only if it names weights.


rule yolov2_off_the_shelf:
    input:
        index=ancient(rules.images.output.index),
        weights=lambda wildcards: [path for path in [protocol_of(wildcards).yolov2.pretrained] if path],
        cfg=lambda wildcards: [path for path in [protocol_of(wildcards).yolov2.cfg] if path],
        validation=of_boxes("validation"),
        predicted=of_boxes("test_images"),
    output:
        validation_predictions="<results>/yolov2_off_the_shelf/{protocol}/fold{fold}/validation.csv",
        predictions="<results>/yolov2_off_the_shelf/{protocol}/fold{fold}/predictions.csv",
        facts="<results>/yolov2_off_the_shelf/{protocol}/fold{fold}/facts.json",
    log:
        "<logs>/yolov2_off_the_shelf/{protocol}_fold{fold}.log",
    benchmark:
        "<benchmarks>/yolov2_off_the_shelf/{protocol}_fold{fold}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(6000),
        runtime=growing(120),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/yolov2_off_the_shelf/{{protocol}}_fold{{fold}}",
        store=STORE,
        box_size=SETTINGS.images.box_size,
        settings=lambda wildcards: chosen(
            protocol_of(wildcards).yolov2, "pretrained", "sha256", "network", "cfg", "image_size"
        ),
        code=code("yolov2_off_the_shelf"),
    script:
        "../workflow/scripts/yolov2_off_the_shelf.py"


rule yolov2_finetuned:
    input:
        index=ancient(rules.images.output.index),
        weights=lambda wildcards: [path for path in [protocol_of(wildcards).yolov2.pretrained] if path],
        cfg=lambda wildcards: [path for path in [protocol_of(wildcards).yolov2.cfg] if path],
        train=of_boxes("train"),
        validation=of_boxes("validation"),
        predicted=of_boxes("test_images"),
    output:
        model="<results>/yolov2_finetuned/{protocol}/fold{fold}/model.pt",
        validation_predictions="<results>/yolov2_finetuned/{protocol}/fold{fold}/validation.csv",
        predictions="<results>/yolov2_finetuned/{protocol}/fold{fold}/predictions.csv",
        history="<results>/yolov2_finetuned/{protocol}/fold{fold}/history.csv",
        facts="<results>/yolov2_finetuned/{protocol}/fold{fold}/facts.json",
    log:
        "<logs>/yolov2_finetuned/{protocol}_fold{fold}.log",
    benchmark:
        "<benchmarks>/yolov2_finetuned/{protocol}_fold{fold}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(12000),
        runtime=growing(720),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/yolov2_finetuned/{{protocol}}_fold{{fold}}",
        store=STORE,
        box_size=SETTINGS.images.box_size,
        settings=lambda wildcards: protocol_of(wildcards).yolov2.model_dump(
            exclude={"enabled", "confidence", "tune_confidence"}
        ),
        code=code("yolov2_finetuned"),
    script:
        "../workflow/scripts/yolov2_finetuned.py"
