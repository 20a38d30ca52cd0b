# Transfer learning: source weights, one job per pair (c, s), the choice of the best pairs, and their long runs.


include: "inputs/transfer.smk"


# Weights that are not trained are fetched or copied where Snakemake runs: compute nodes may have no network.
if SETTINGS.source.kind != "textures":

    localrules:
        source_weights,


rule source_weights:
    output:
        model="<results>/source/weights.pt",
        fingerprint="<results>/source/weights.sha256",
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
        mem_mb=growing(6000),
        runtime=growing(120),
    params:
        common=COMMON,
        state=f"{RESULTS}/state/source_weights",
        settings=SETTINGS.source.model_dump(),
        network=SETTINGS.network.name,
        image_size=SETTINGS.images.size,
        code=code("source_weights"),
    script:
        "../workflow/scripts/source_weights.py"


# The frozen layers' outputs for every picture that the grid's jobs see, computed once for all pairs (c, s). The numbers
# are stored beside the description; no rule declares them, so that a run adds only what is missing. A folder that is
# deleted is made again when a pair has to train, and only then.
rule features:
    input:
        source=ancient(rules.source_weights.output.model),
        fingerprint=rules.source_weights.output.fingerprint,
        index=ancient(rules.images.output.index),
        train=of_training_sets("train_images"),
        judged=of_sizes("validation_images", lambda transfer: transfer.sizes),
    output:
        store="<results>/features/{protocol}/store.json",
    log:
        "<logs>/features/{protocol}.log",
    benchmark:
        "<benchmarks>/features/{protocol}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        **CLASSIFIER,
        state=f"{RESULTS}/state/features/{{protocol}}",
        repeats=lambda wildcards: [repeat for _, repeat in plans.training_sets(protocol_of(wildcards))],
        layers=lambda wildcards: protocol_of(wildcards).transfer.layers,
        schedule=lambda wildcards: chosen(protocol_of(wildcards).transfer.training, "epochs", "steps", "batch"),
        budget=lambda wildcards: protocol_of(wildcards).transfer.features_gb,
        code=code("features"),
    script:
        "../workflow/scripts/features.py"


rule transfer:
    input:
        features=ancient(of_features),
        source=ancient(rules.source_weights.output.model),
        fingerprint=rules.source_weights.output.fingerprint,
        index=ancient(rules.images.output.index),
        train=of_draw("train"),
        validation=of_split("validation"),
        predicted=of_split("validation"),  # the grid is judged on validation
    output:
        model="<results>/transfer/{protocol}/c{layers}_s{size}{repeat}/model.pt",
        predictions="<results>/transfer/{protocol}/c{layers}_s{size}{repeat}/predictions.csv",
        history="<results>/transfer/{protocol}/c{layers}_s{size}{repeat}/history.csv",
        facts="<results>/transfer/{protocol}/c{layers}_s{size}{repeat}/facts.json",
    log:
        "<logs>/transfer/{protocol}/c{layers}_s{size}{repeat}.log",
    benchmark:
        "<benchmarks>/transfer/{protocol}/c{layers}_s{size}{repeat}.tsv"
    group:
        "pairs"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **CLASSIFIER,
        state=f"{RESULTS}/state/transfer/{{protocol}}_c{{layers}}_s{{size}}{{repeat}}",
        settings=lambda wildcards: transfer_settings(wildcards, "training"),
        shared="training",
        code=code("transfer"),
    script:
        "../workflow/scripts/transfer.py"


# Joins the trainings it names into one cluster job; without a cluster it does nothing.
rule bundle:
    input:
        pairs=of_bundle,
        train=of_draw("train"),  # only jobs that depend on a checkpoint directly are judged again after it
    output:
        touch("<results>/transfer/{protocol}/bundles/s{size}{repeat}_{number}.done"),
    log:
        "<logs>/bundle/{protocol}/s{size}{repeat}_{number}.log",
    group:
        "pairs"
    resources:
        mem_mb=100,
        runtime=1,


checkpoint select:
    input:
        bundles=lambda wildcards: [
            f"<results>/transfer/{wildcards.protocol}/bundles/{name}.done"
            for name in plans.bundles(protocol_of(wildcards))
        ],
        predictions=of_grid("predictions.csv"),
        facts=of_grid("facts.json"),
        train=of_grid_splits("train"),
        validation=of_grid_splits("validation"),
    output:
        grid="<results>/transfer/{protocol}/grid.csv",
        selected="<results>/transfer/{protocol}/selected.csv",
        trainings="<results>/transfer/{protocol}/trainings.csv",
        spread="<results>/transfer/{protocol}/spread.csv",
        chance="<results>/transfer/{protocol}/chance.csv",
    log:
        "<logs>/select/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        trained=lambda wildcards: [
            [layers, size, plans.number_of(plans.draw_of(repeat)), plans.number_of(repeat)]
            for layers, size, repeat in plans.trained(protocol_of(wildcards))
        ],
        confidence=SETTINGS.evaluation.confidence,
        settings=lambda wildcards: chosen(protocol_of(wildcards).transfer, "select_by", "select"),
        code=code("select"),
    script:
        "../workflow/scripts/select.py"


use rule transfer as transfer_long with:
    input:
        features=ancient(of_features),
        source=ancient(rules.source_weights.output.model),
        fingerprint=rules.source_weights.output.fingerprint,
        index=ancient(rules.images.output.index),
        train=of_draw("train"),
        validation=of_split("validation"),
        predicted=of_split("test_images"),
    output:
        model="<results>/transfer_long/{protocol}/c{layers}_s{size}{repeat}/model.pt",
        predictions="<results>/transfer_long/{protocol}/c{layers}_s{size}{repeat}/predictions.csv",
        validation_predictions="<results>/transfer_long/{protocol}/c{layers}_s{size}{repeat}/validation.csv",
        history="<results>/transfer_long/{protocol}/c{layers}_s{size}{repeat}/history.csv",
        facts="<results>/transfer_long/{protocol}/c{layers}_s{size}{repeat}/facts.json",
    log:
        "<logs>/transfer_long/{protocol}/c{layers}_s{size}{repeat}.log",
    benchmark:
        "<benchmarks>/transfer_long/{protocol}/c{layers}_s{size}{repeat}.tsv"
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(480),
    params:
        **CLASSIFIER,
        state=f"{RESULTS}/state/transfer_long/{{protocol}}_c{{layers}}_s{{size}}{{repeat}}",
        settings=lambda wildcards: transfer_settings(wildcards, "long"),
        shared="judging",
        code=code("transfer"),
