# Transfer learning: source weights, one job a pair (c, s), the choice of the best pairs, and their long runs.


rule source_weights:
    output:
        model="<results>/source/weights.pt",
        history="<results>/source/history.csv",
        facts="<results>/source/facts.json",
    log:
        "<logs>/source_weights.log",
    benchmark:
        "<benchmarks>/source_weights.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=6000,
        runtime=120,
    params:
        common=COMMON,
        settings=SETTINGS.source.model_dump(),
        network=SETTINGS.network.name,
        image_size=SETTINGS.images.size,
        code=code("source"),
    script:
        "../workflow/scripts/source_weights.py"


rule transfer:
    input:
        source=rules.source_weights.output.model,
        index=rules.images.output.index,
        train="<results>/splits/{protocol}/{size}/train.csv",
        validation="<results>/splits/{protocol}/{size}/validation.csv",
    output:
        model="<results>/transfer/{protocol}/c{layers}_s{size}/model.pt",
        predictions="<results>/transfer/{protocol}/c{layers}_s{size}/predictions.csv",
        history="<results>/transfer/{protocol}/c{layers}_s{size}/history.csv",
        facts="<results>/transfer/{protocol}/c{layers}_s{size}/facts.json",
    log:
        "<logs>/transfer/{protocol}/c{layers}_s{size}.log",
    benchmark:
        "<benchmarks>/transfer/{protocol}/c{layers}_s{size}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=60,
    params:
        common=COMMON,
        store=STORE,
        image_size=SETTINGS.images.size,
        network=SETTINGS.network.name,
        augment=lambda wildcards: protocol_of(wildcards).augment.model_dump(),
        settings=lambda wildcards: transfer_settings(wildcards, "training"),
        code=code("transfer"),
    script:
        "../workflow/scripts/transfer.py"


checkpoint select:
    input:
        predictions=of_pairs("<results>/transfer/{protocol}/c{layers}_s{size}/predictions.csv"),
        facts=of_pairs("<results>/transfer/{protocol}/c{layers}_s{size}/facts.json"),
        train=of_pairs("<results>/splits/{protocol}/{size}/train.csv"),
        validation=of_pairs("<results>/splits/{protocol}/{size}/validation.csv"),
    output:
        grid="<results>/transfer/{protocol}/grid.csv",
        selected="<results>/transfer/{protocol}/selected.csv",
    log:
        "<logs>/select/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        pairs=pairs,
        settings=lambda wildcards: chosen(protocol_of(wildcards).transfer, "select_by", "select"),
        code=code("selection"),
    script:
        "../workflow/scripts/select.py"


rule transfer_long:
    input:
        source=rules.source_weights.output.model,
        index=rules.images.output.index,
        train="<results>/splits/{protocol}/{size}/train.csv",
        validation="<results>/splits/{protocol}/{size}/validation.csv",
        test="<results>/splits/{protocol}/{size}/test.csv",
    output:
        model="<results>/transfer_long/{protocol}/c{layers}_s{size}/model.pt",
        predictions="<results>/transfer_long/{protocol}/c{layers}_s{size}/predictions.csv",
        history="<results>/transfer_long/{protocol}/c{layers}_s{size}/history.csv",
        facts="<results>/transfer_long/{protocol}/c{layers}_s{size}/facts.json",
    log:
        "<logs>/transfer_long/{protocol}/c{layers}_s{size}.log",
    benchmark:
        "<benchmarks>/transfer_long/{protocol}/c{layers}_s{size}.tsv"
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
        image_size=SETTINGS.images.size,
        network=SETTINGS.network.name,
        augment=lambda wildcards: protocol_of(wildcards).augment.model_dump(),
        settings=lambda wildcards: transfer_settings(wildcards, "long"),
        code=code("transfer"),
    script:
        "../workflow/scripts/transfer_long.py"
