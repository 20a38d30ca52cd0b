# Which choices of transfer learning collapse to the majority classifier: each input of the added layer with each kind of
# frozen batch norm, on a few pairs (c, s), judged on the test images. Runs only where transfer.comparison names pairs.


use rule features as features_comparison with:
    input:
        source=ancient(rules.source_weights.output.model),
        fingerprint=rules.source_weights.output.fingerprint,
        index=ancient(rules.images.output.index),
        train=of_sizes("train_images", lambda transfer: transfer.comparison.sizes),
        judged=lambda wildcards: [
            *of_sizes("validation_images", lambda transfer: transfer.comparison.sizes)(wildcards),
            *of_sizes("test_images", lambda transfer: transfer.comparison.sizes)(wildcards),
        ],
    output:
        store="<results>/comparison/{protocol}/features/store.json",
    log:
        "<logs>/comparison/{protocol}/features.log",
    benchmark:
        "<benchmarks>/comparison/{protocol}/features.tsv"
    params:
        **CLASSIFIER,
        state=f"{RESULTS}/state/features/{{protocol}}_comparison",
        repeats=lambda wildcards: [0] * len(protocol_of(wildcards).transfer.comparison.sizes),
        layers=lambda wildcards: protocol_of(wildcards).transfer.comparison.layers,
        schedule=lambda wildcards: chosen(protocol_of(wildcards).transfer.training, "epochs", "steps", "batch"),
        budget=lambda wildcards: protocol_of(wildcards).transfer.features_gb,
        code=code("features"),


use rule transfer as transfer_variant with:
    input:
        features=ancient(of_variant_features),
        source=ancient(rules.source_weights.output.model),
        fingerprint=rules.source_weights.output.fingerprint,
        index=ancient(rules.images.output.index),
        train=of_split("train"),
        validation=of_split("validation"),
        predicted=of_split("test_images"),
    output:
        model="<results>/comparison/{protocol}/{head_input}_{frozen_batchnorm}/c{layers}_s{size}/model.pt",
        predictions="<results>/comparison/{protocol}/{head_input}_{frozen_batchnorm}/c{layers}_s{size}/predictions.csv",
        history="<results>/comparison/{protocol}/{head_input}_{frozen_batchnorm}/c{layers}_s{size}/history.csv",
        facts="<results>/comparison/{protocol}/{head_input}_{frozen_batchnorm}/c{layers}_s{size}/facts.json",
    log:
        "<logs>/comparison/{protocol}/{head_input}_{frozen_batchnorm}_c{layers}_s{size}.log",
    benchmark:
        "<benchmarks>/comparison/{protocol}/{head_input}_{frozen_batchnorm}_c{layers}_s{size}.tsv"
    params:
        **CLASSIFIER,
        state=f"{RESULTS}/state/comparison/{{protocol}}_{{head_input}}_{{frozen_batchnorm}}_c{{layers}}_s{{size}}",
        settings=variant_settings,
        shared="training",
        code=code("transfer"),


use rule metrics_baseline as metrics_variant with:
    input:
        predictions=rules.transfer_variant.output.predictions,
        floors="<results>/floors/{protocol}/{size}.npz",
        test=of_split("test"),
    output:
        table="<results>/comparison/{protocol}/{head_input}_{frozen_batchnorm}/c{layers}_s{size}/metrics.csv",
    log:
        "<logs>/comparison/{protocol}/metrics_{head_input}_{frozen_batchnorm}_c{layers}_s{size}.log",
    params:
        protocol="{protocol}",
        experiment="{head_input}_{frozen_batchnorm}_c{layers}_s{size}",
        activation="sigmoid",
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_classifier"),


rule compare:
    input:
        predictions=of_compared("predictions.csv"),
        facts=of_compared("facts.json"),
        scores=of_compared("metrics.csv"),
        train=of_compared_splits("train"),
        test=of_compared_splits("test"),
    output:
        table="<results>/comparison/{protocol}/comparison.csv",
        picture=report(
            "<results>/comparison/{protocol}/comparison.png",
            category="Transfer",
            labels={"detector": "which choices collapse, {protocol}"},
        ),
    log:
        "<logs>/compare/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        jobs=lambda wildcards: plans.compared(protocol_of(wildcards)),
        code=code("compare"),
    script:
        "../workflow/scripts/compare.py"
