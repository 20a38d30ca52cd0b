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


# The paper's three losses, and fewer training images, each in several draws; requested only if `variants.draws` is above 0.
rule gridcnn_fewer:
    input:
        train=of_boxes("train"),
    output:
        fewer="<results>/gridcnn_variants/{protocol}/fewer/draw{draw}_fold{fold}.csv",
    log:
        "<logs>/gridcnn_variants/{protocol}/fewer_draw{draw}_fold{fold}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        left_out=lambda wildcards: protocol_of(wildcards).gridcnn.variants.fewer,
        seed=lambda wildcards: SETTINGS.seed + int(wildcards.draw),
        code=code("gridcnn_fewer"),
    script:
        "../workflow/scripts/gridcnn_fewer.py"


use rule gridcnn as gridcnn_variant with:
    input:
        index=ancient(rules.images.output.index),
        train=of_variant_boxes("train"),
        validation=of_boxes("validation"),
        predicted=of_boxes("test_images"),
    output:
        model="<results>/gridcnn_variants/{protocol}/{loss}_{amount}/draw{draw}_fold{fold}/model.pt",
        validation_predictions="<results>/gridcnn_variants/{protocol}/{loss}_{amount}/draw{draw}_fold{fold}/validation.npz",
        predictions="<results>/gridcnn_variants/{protocol}/{loss}_{amount}/draw{draw}_fold{fold}/predictions.npz",
        history="<results>/gridcnn_variants/{protocol}/{loss}_{amount}/draw{draw}_fold{fold}/history.csv",
        facts="<results>/gridcnn_variants/{protocol}/{loss}_{amount}/draw{draw}_fold{fold}/facts.json",
    log:
        "<logs>/gridcnn_variants/{protocol}/{loss}_{amount}_draw{draw}_fold{fold}.log",
    benchmark:
        "<benchmarks>/gridcnn_variants/{protocol}/{loss}_{amount}_draw{draw}_fold{fold}.tsv"
    params:
        common=lambda wildcards: COMMON | {"seed": SETTINGS.seed + int(wildcards.draw)},
        state=f"{RESULTS}/state/gridcnn_variants/{{protocol}}_{{loss}}_{{amount}}_draw{{draw}}_fold{{fold}}",
        store=STORE,
        box_size=SETTINGS.images.box_size,
        settings=lambda wildcards: gridcnn_settings(wildcards, "pretraining") | {"loss": wildcards.loss},
        code=code("gridcnn"),


rule gridcnn_variants:
    input:
        predictions=of_variants("predictions.npz"),
        fewer=of_fewer,
        train=of_all_boxes("train"),
        test=of_all_boxes("test"),
    output:
        table="<results>/ledger/{protocol}_variants.csv",
    log:
        "<logs>/ledger/{protocol}_variants.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        draws=lambda wildcards: [*plans.variant_draws(protocol_of(wildcards).gridcnn)],
        variants=plans.VARIANTS,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("gridcnn_variants"),
    script:
        "../workflow/scripts/gridcnn_variants.py"
