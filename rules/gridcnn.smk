# The 18-layer grid CNN (paper, section 2.3.4).


rule gridcnn:
    input:
        index=rules.images.output.index,
        train="<results>/splits/{protocol}/boxes/train.csv",
        validation="<results>/splits/{protocol}/boxes/validation.csv",
        test="<results>/splits/{protocol}/boxes/test.csv",
    output:
        model="<results>/gridcnn/{protocol}/model.pt",
        validation_predictions="<results>/gridcnn/{protocol}/validation.npz",
        predictions="<results>/gridcnn/{protocol}/predictions.npz",
        history="<results>/gridcnn/{protocol}/history.csv",
        facts="<results>/gridcnn/{protocol}/facts.json",
    log:
        "<logs>/gridcnn/{protocol}.log",
    benchmark:
        "<benchmarks>/gridcnn/{protocol}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=480,
    params:
        common=COMMON,
        store=STORE,
        box_size=SETTINGS.images.box_size,
        settings=lambda wildcards: protocol_of(wildcards).gridcnn.model_dump(exclude={"threshold", "tune_threshold"}),
        code=code("gridcnn"),
    script:
        "../workflow/scripts/gridcnn.py"
