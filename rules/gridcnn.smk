# The 18-layer grid CNN (paper, section 2.3.4).


include: "inputs/gridcnn.smk"


# Generated images to pre-train the grid CNN on; requested only if `pretraining.images` is above 0.
rule gridcnn_phantoms:
    output:
        drawn="<results>/gridcnn/{protocol}/pretrained/phantoms.npz",
    log:
        "<logs>/gridcnn_phantoms/{protocol}.log",
    conda:
        "../envs/training.yaml"
    threads: 8
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: drawn_beforehand(wildcards),
        seed=SETTINGS.seed,
        code=code("gridcnn_phantoms"),
    script:
        "../workflow/scripts/gridcnn_phantoms.py"


# Requested only if `pretraining.images` is above 0.
rule gridcnn_pretrained:
    input:
        drawn=rules.gridcnn_phantoms.output.drawn,
    output:
        model="<results>/gridcnn/{protocol}/pretrained/model.pt",
        fingerprint="<results>/gridcnn/{protocol}/pretrained/model.sha256",
        history="<results>/gridcnn/{protocol}/pretrained/history.csv",
        facts="<results>/gridcnn/{protocol}/pretrained/facts.json",
    log:
        "<logs>/gridcnn_pretrained/{protocol}.log",
    benchmark:
        "<benchmarks>/gridcnn_pretrained/{protocol}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(480),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/gridcnn_pretrained/{{protocol}}",
        settings=lambda wildcards: gridcnn_settings(wildcards, "training"),
        code=code("gridcnn_pretrained"),
    script:
        "../workflow/scripts/gridcnn_pretrained.py"


rule gridcnn:
    input:
        pretrained=ancient(of_pretrained("model.pt")),
        fingerprint=of_pretrained("model.sha256"),
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
        settings=lambda wildcards: gridcnn_settings(wildcards, "pretraining"),
        code=code("gridcnn"),
    script:
        "../workflow/scripts/gridcnn.py"
