# What compares several experiments by their predictions: the paper's claims for the report's ledger, and the title's question.


include: "inputs/ledger.smk"


rule claims:
    input:
        selected="<results>/transfer/{protocol}/selected.csv",  # only who depends on a checkpoint directly is judged again
        baselines=[
            "<results>/baseline/{protocol}/softmax/predictions.csv",
            "<results>/baseline/{protocol}/sigmoid/predictions.csv",
        ],
        baseline_floors=of_baseline_floors(""),
        baseline_test=of_baseline("test"),
        long_predictions=of_chosen("<results>/transfer_long/{protocol}/{pair}/predictions.csv"),
        long_floors=of_chosen("<results>/floors/{protocol}/{size}.npz"),
        long_test=of_chosen_splits("test"),
        gridcnn=of_folds("<results>/gridcnn/{protocol}/fold{fold}/predictions.npz"),
        gridcnn_validation=of_folds("<results>/gridcnn/{protocol}/fold{fold}/validation.npz"),
        yolo=of_yolo("predictions.csv"),
        yolo_validation=of_yolo("validation.csv"),
        boxed_train=of_all_boxes("train"),
        boxed_validation=of_all_boxes("validation"),
        boxed_test=of_all_boxes("test"),
    output:
        table="<results>/ledger/{protocol}.csv",
    log:
        "<logs>/ledger/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        pairs=lambda wildcards: selected_pairs(wildcards.protocol),
        thresholds=thresholds_of,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("claims"),
    script:
        "../workflow/scripts/claims.py"


# Is transfer better than training from scratch, and than not looking at an image?
rule transfer_gain:
    input:
        selected="<results>/transfer/{protocol}/selected.csv",  # only who depends on a checkpoint directly is judged again
        baseline_test_predictions="<results>/baseline/{protocol}/sigmoid/predictions.csv",
        baseline_test_floors=of_baseline_floors(""),
        baseline_test_split=of_baseline("test"),
        baseline_validation_predictions="<results>/baseline/{protocol}/sigmoid/validation.csv",
        baseline_validation_floors=of_baseline_floors("_validation"),
        baseline_validation_split=of_baseline("validation"),
        baseline_train=of_baseline("train"),
        long_predictions=of_chosen("<results>/transfer_long/{protocol}/{pair}/predictions.csv"),
        long_floors=of_chosen("<results>/floors/{protocol}/{size}.npz"),
        long_split=of_chosen_splits("test"),
        long_train=of_chosen_splits("train"),
        grid_predictions=of_curve("<results>/transfer/{protocol}/{pair}/predictions.csv"),
        grid_floors=of_curve("<results>/floors/{protocol}/{size}_validation.npz"),
        grid_split=of_curve_splits("validation"),
        grid_train=of_curve_splits("train"),
    output:
        table="<results>/transfer_gain/{protocol}.csv",
    log:
        "<logs>/transfer_gain/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        pairs=lambda wildcards: selected_pairs(wildcards.protocol),
        curve=lambda wildcards: curve_pairs(wildcards.protocol),
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("transfer_gain"),
    script:
        "../workflow/scripts/transfer_gain.py"
