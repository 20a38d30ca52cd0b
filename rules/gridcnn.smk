# The 18-layer grid CNN (paper, section 2.3.4).


rule gridcnn:
    input:
        index=ancient(rules.images.output.index),
        train=of_boxes("train"),
        train_labels=of_boxed_labels,
        validation=of_boxes("validation"),
        predicted=of_boxes("test_images"),
    output:
        model="<results>/gridcnn/{protocol}/fold{fold}/model.pt",
        validation_predictions="<results>/gridcnn/{protocol}/fold{fold}/validation.npz",
        predictions="<results>/gridcnn/{protocol}/fold{fold}/predictions.npz",
        history="<results>/gridcnn/{protocol}/fold{fold}/history.csv",
        facts="<results>/gridcnn/{protocol}/fold{fold}/facts.json",
    log:
        "<logs>/gridcnn/{protocol}_fold{fold}.log",
    benchmark:
        "<benchmarks>/gridcnn/{protocol}_fold{fold}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(480),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/gridcnn/{{protocol}}_fold{{fold}}",
        store=STORE,
        box_size=SETTINGS.images.box_size,
        settings=lambda wildcards: protocol_of(wildcards).gridcnn.model_dump(exclude={"threshold", "tune_threshold"}),
        code=code("gridcnn"),
    script:
        "../workflow/scripts/gridcnn.py"
