# A detector of torchvision, beside YOLO; requested only if the configuration enables it.


rule torchvision_detector:
    input:
        index=ancient(rules.images.output.index),
        weights=lambda wildcards: [path for path in [protocol_of(wildcards).torchvision_detector.pretrained] if path],
        train=of_boxes("train"),
        validation=of_boxes("validation"),
        predicted=of_boxes("test_images"),
    output:
        model="<results>/torchvision_detector/{protocol}/fold{fold}/model.pt",
        validation_predictions="<results>/torchvision_detector/{protocol}/fold{fold}/validation.csv",
        predictions="<results>/torchvision_detector/{protocol}/fold{fold}/predictions.csv",
        history="<results>/torchvision_detector/{protocol}/fold{fold}/history.csv",
        facts="<results>/torchvision_detector/{protocol}/fold{fold}/facts.json",
    log:
        "<logs>/torchvision_detector/{protocol}_fold{fold}.log",
    benchmark:
        "<benchmarks>/torchvision_detector/{protocol}_fold{fold}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(480),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/torchvision_detector/{{protocol}}_fold{{fold}}",
        store=STORE,
        box_size=SETTINGS.images.box_size,
        settings=lambda wildcards: protocol_of(wildcards).torchvision_detector.model_dump(
            exclude={"enabled", "confidence", "tune_confidence"}
        ),
        code=code("torchvision_detector"),
    script:
        "../workflow/scripts/torchvision_detector.py"
