# Metrics beside their floors, from saved predictions, and the report.


include: "inputs/report.smk"


# What image-free predictors, fitted on a split's training images, say of its test and validation images.
rule ladder:
    input:
        train=of_draw("train"),
        train_metadata=of_draw("train_metadata"),
        validation_metadata=of_split("validation_metadata"),
        test_metadata=of_split("test_metadata"),
    output:
        ladder="<results>/floors/{protocol}/{size}{repeat}.npz",
        validation_ladder="<results>/floors/{protocol}/{size}{repeat}_validation.npz",
    log:
        "<logs>/floors/{protocol}_{size}{repeat}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        seed=SETTINGS.seed,
        code=code("ladder"),
    script:
        "../workflow/scripts/ladder.py"


rule metrics_baseline:
    input:
        predictions="<results>/baseline/{protocol}/{activation}/predictions.csv",
        floors=of_baseline_floors(""),
        test=of_baseline("test"),
    output:
        table="<results>/metrics/{protocol}/baseline_{activation}.csv",
    log:
        "<logs>/metrics/{protocol}/baseline_{activation}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        protocol="{protocol}",
        experiment="baseline_{activation}",
        activation="{activation}",
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_classifier"),
    script:
        "../workflow/scripts/metrics_classifier.py"


use rule metrics_baseline as metrics_transfer with:
    input:
        predictions="<results>/transfer_long/{protocol}/c{layers}_s{size}{repeat}/predictions.csv",
        floors="<results>/floors/{protocol}/{size}{repeat}.npz",
        test=of_split("test"),
    output:
        table="<results>/metrics/{protocol}/transfer_c{layers}_s{size}{repeat}.csv",
    log:
        "<logs>/metrics/{protocol}/transfer_c{layers}_s{size}{repeat}.log",
    params:
        protocol="{protocol}",
        experiment="transfer_c{layers}_s{size}{repeat}",
        activation="sigmoid",
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_classifier"),


# The chosen pairs over all draws of their training images: what their test scores spread by.
rule long_repeats:
    input:
        tables=of_long_repeats("metrics/{protocol}/transfer_{pair}{repeat}.csv"),
        selected="<results>/transfer/{protocol}/selected.csv",  # only who depends on a checkpoint directly is judged again
    output:
        table="<results>/transfer_long/{protocol}/repeats.csv",
    log:
        "<logs>/transfer_long/{protocol}_repeats.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        pairs=lambda wildcards: selected_pairs(wildcards.protocol),
        confidence=SETTINGS.evaluation.confidence,
        code=code("long_repeats"),
    script:
        "../workflow/scripts/long_repeats.py"


# Calibration, operating points and subgroups of the classifiers with sigmoid outputs.
rule validity_baseline:
    input:
        validation_predictions="<results>/baseline/{protocol}/sigmoid/validation.csv",
        predictions="<results>/baseline/{protocol}/sigmoid/predictions.csv",
        validation_floors=of_baseline_floors("_validation"),
        floors=of_baseline_floors(""),
        validation=of_baseline("validation"),
        test=of_baseline("test"),
        test_metadata=of_baseline("test_metadata"),
    output:
        table="<results>/validity/{protocol}/baseline_sigmoid.csv",
    log:
        "<logs>/validity/{protocol}/baseline_sigmoid.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        protocol="{protocol}",
        experiment="baseline_sigmoid",
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("validity"),
    script:
        "../workflow/scripts/validity.py"


use rule validity_baseline as validity_transfer with:
    input:
        validation_predictions="<results>/transfer_long/{protocol}/c{layers}_s{size}/validation.csv",
        predictions="<results>/transfer_long/{protocol}/c{layers}_s{size}/predictions.csv",
        validation_floors="<results>/floors/{protocol}/{size}_validation.npz",
        floors="<results>/floors/{protocol}/{size}.npz",
        validation=of_split("validation"),
        test=of_split("test"),
        test_metadata=of_split("test_metadata"),
    output:
        table="<results>/validity/{protocol}/transfer_c{layers}_s{size}.csv",
    log:
        "<logs>/validity/{protocol}/transfer_c{layers}_s{size}.log",
    params:
        protocol="{protocol}",
        experiment="transfer_c{layers}_s{size}",
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("validity"),


# One table over all folds of a protocol: every boxed image of it is tested once.
rule metrics_gridcnn:
    input:
        validation_predictions=of_folds("<results>/gridcnn/{protocol}/fold{fold}/validation.npz"),
        predictions=of_folds("<results>/gridcnn/{protocol}/fold{fold}/predictions.npz"),
        train=of_all_boxes("train"),
        validation=of_all_boxes("validation"),
        test=of_all_boxes("test"),
    output:
        table="<results>/metrics/{protocol}/gridcnn.csv",
        thresholds="<results>/metrics/{protocol}/gridcnn_threshold.json",
        froc="<results>/froc/{protocol}/gridcnn.csv",
    log:
        "<logs>/metrics/{protocol}/gridcnn.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        protocol="{protocol}",
        experiment="gridcnn",
        threshold=lambda wildcards: protocol_of(wildcards).gridcnn.threshold,
        tune=lambda wildcards: protocol_of(wildcards).gridcnn.tune_threshold,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_detector"),
    script:
        "../workflow/scripts/metrics_detector.py"


use rule metrics_gridcnn as metrics_boxes with:
    input:
        validation_predictions=of_folds("<results>/{detector}/{protocol}/fold{fold}/validation.csv"),
        predictions=of_folds("<results>/{detector}/{protocol}/fold{fold}/predictions.csv"),
        train=of_all_boxes("train"),
        validation=of_all_boxes("validation"),
        test=of_all_boxes("test"),
    output:
        table="<results>/metrics/{protocol}/{detector}.csv",
        thresholds="<results>/metrics/{protocol}/{detector}_threshold.json",
        froc="<results>/froc/{protocol}/{detector}.csv",
    log:
        "<logs>/metrics/{protocol}/{detector}.log",
    params:
        protocol="{protocol}",
        experiment="{detector}",
        threshold=lambda wildcards: box_settings(wildcards).confidence,
        tune=lambda wildcards: box_settings(wildcards).tune_confidence,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_detector"),


# F1 of a detector's areas by sex, age and view.
rule validity_gridcnn:
    input:
        validation_predictions=rules.metrics_gridcnn.input.validation_predictions,
        predictions=rules.metrics_gridcnn.input.predictions,
        train=of_all_boxes("train"),
        validation=of_all_boxes("validation"),
        test=of_all_boxes("test"),
        test_metadata=of_all_boxes("test_metadata"),
    output:
        table="<results>/validity/{protocol}/gridcnn.csv",
    log:
        "<logs>/validity/{protocol}/gridcnn.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        protocol="{protocol}",
        experiment="gridcnn",
        threshold=lambda wildcards: protocol_of(wildcards).gridcnn.threshold,
        tune=lambda wildcards: protocol_of(wildcards).gridcnn.tune_threshold,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("validity_detector"),
    script:
        "../workflow/scripts/validity_detector.py"


use rule validity_gridcnn as validity_boxes with:
    input:
        validation_predictions=rules.metrics_boxes.input.validation_predictions,
        predictions=rules.metrics_boxes.input.predictions,
        train=of_all_boxes("train"),
        validation=of_all_boxes("validation"),
        test=of_all_boxes("test"),
        test_metadata=of_all_boxes("test_metadata"),
    output:
        table="<results>/validity/{protocol}/{detector}.csv",
    log:
        "<logs>/validity/{protocol}/{detector}.log",
    params:
        protocol="{protocol}",
        experiment="{detector}",
        threshold=lambda wildcards: box_settings(wildcards).confidence,
        tune=lambda wildcards: box_settings(wildcards).tune_confidence,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("validity_detector"),


# Test images with their boxes and a detector's predictions.
rule sheet_gridcnn:
    input:
        index=ancient(rules.images.output.index),
        predictions=rules.metrics_gridcnn.input.predictions,
        thresholds=rules.metrics_gridcnn.output.thresholds,
        test=of_all_boxes("test"),
    output:
        picture=report("<results>/sheets/{protocol}/gridcnn.png", category="Detection", labels={"detector": "grid CNN"}),
        failures="<results>/sheets/{protocol}/gridcnn_failures.png",
        maps="<results>/sheets/{protocol}/gridcnn_maps.png",
    log:
        "<logs>/sheets/{protocol}/gridcnn.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        store=STORE,
        box_size=SETTINGS.images.box_size,
        code=code("sheet"),
    script:
        "../workflow/scripts/sheet.py"


use rule sheet_gridcnn as sheet_boxes with:
    input:
        index=ancient(rules.images.output.index),
        predictions=rules.metrics_boxes.input.predictions,
        thresholds=rules.metrics_boxes.output.thresholds,
        test=of_all_boxes("test"),
    output:
        picture=report(
            "<results>/sheets/{protocol}/{detector}.png", category="Detection", labels={"detector": "{detector}"}
        ),
        failures="<results>/sheets/{protocol}/{detector}_failures.png",
        maps="<results>/sheets/{protocol}/{detector}_maps.png",
    log:
        "<logs>/sheets/{protocol}/{detector}.log",


rule examples:
    input:
        index=ancient(rules.images.output.index),
        records=of_records("records"),
    output:
        picture=report("<results>/sheets/examples.png", category="Data", labels={"detector": "examples of the images"}),
    log:
        "<logs>/sheets/examples.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        store=STORE,
        size=SETTINGS.images.size,
        seed=SETTINGS.seed,
        code=code("examples"),
    script:
        "../workflow/scripts/examples.py"


rule report:
    input:
        settings=rules.settings.output[0],
        summary=of_records("summary"),
        rejected=of_records("rejected"),
        leakage=leakage,
        metrics=[f"<results>/metrics/{name}/{experiment}.csv" for name, experiment in EXPERIMENTS],
        long_metrics=of_long_runs("<results>/metrics/{protocol}/transfer_{pair}.csv"),
        validity=[
            f"<results>/validity/{name}/{experiment}.csv"
            for name, experiment in [*((name, "baseline_sigmoid") for name in SETTINGS.protocols), *DETECTORS]
        ],
        long_validity=of_long_runs("<results>/validity/{protocol}/transfer_{pair}.csv"),
        facts=[f"{folder}/facts.json" for folder in JOBS.values()],
        long_facts=of_long_runs("<results>/transfer_long/{protocol}/{pair}/facts.json"),
        histories=[
            f"{folder}/history.csv" for (_, name, _), folder in JOBS.items() if experiments.BY_NAME[name].trained
        ],
        long_histories=of_long_runs("<results>/transfer_long/{protocol}/{pair}/history.csv"),
        source=[rules.source_weights.output.facts, rules.source_weights.output.history],
        grids=expand("<results>/transfer/{protocol}/grid.csv", protocol=SETTINGS.protocols),
        chances=expand("<results>/transfer/{protocol}/chance.csv", protocol=SETTINGS.protocols),
        claims=[*(["<results>/ledger/paper.csv"] if "paper" in SETTINGS.protocols else []), *compared_variants()],
        transfer_gains=expand("<results>/transfer_gain/{protocol}.csv", protocol=SETTINGS.protocols),
        spreads=expand("<results>/transfer/{protocol}/spread.csv", protocol=SETTINGS.protocols),
        selected=expand("<results>/transfer/{protocol}/selected.csv", protocol=SETTINGS.protocols),
        repeats=expand("<results>/transfer_long/{protocol}/repeats.csv", protocol=SETTINGS.protocols),
        leakage_experiment=["<results>/leakage/leakage.csv"] if SETTINGS.leakage.enabled else [],
        comparisons=comparisons("<results>/comparison/{protocol}/comparison.csv"),
        sheets=[f"<results>/sheets/{name}/{detector}.png" for name, detector in DETECTORS],
        failures=[f"<results>/sheets/{name}/{detector}_failures.png" for name, detector in DETECTORS],
        maps=[f"<results>/sheets/{name}/{detector}_maps.png" for name, detector in DETECTORS],
        froc=[f"<results>/froc/{name}/{detector}.csv" for name, detector in DETECTORS],
        examples=rules.examples.output[0],
        voc=VOC,
    output:
        page=report("<results>/report.html", category="Report", labels={"detector": "all experiments"}),
        tables=directory("<results>/tables"),
    log:
        "<logs>/report.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        skipped=[[*key, reason] for key, reason in SKIPPED.items()],
        jobs=[[*key] for key in JOBS],
        validation=validation_page,
        code=code(
            "report", *TEMPLATES, "report/ledger.html.j2", "report/transfer_gain.html.j2", "report/template.html.j2"
        ),
    script:
        "../workflow/scripts/report.py"
