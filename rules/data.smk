# From tables and PNG files to checked records, boxes and the image cache.


include: "inputs/data.smk"


if GENERATED:

    rule phantoms:
        output:
            labels=f"{DATA_ROOT}/{TABLES['labels']}",
            boxes=f"{DATA_ROOT}/{TABLES['boxes']}",
            train_val=f"{DATA_ROOT}/{TABLES['train_val']}",
            test=f"{DATA_ROOT}/{TABLES['test']}",
        log:
            "<logs>/phantoms.log",
        conda:
            "../envs/data.yaml"
        threads: 8
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            root=lambda wildcards: DATA_ROOT,
            settings=SETTINGS.phantoms.model_dump(),
            seed=SETTINGS.seed,
            code=code("phantoms"),
        script:
            "../workflow/scripts/phantoms.py"


# Decodes every image of the label table once; the pixels are in STORE, outside the declared outputs, so that a
# re-run decodes only what is new.
rule images:
    input:
        labels=os.path.join(DATA_ROOT, TABLES["labels"]),
        boxes=os.path.join(DATA_ROOT, TABLES["boxes"]),
    output:
        index="<results>/data/images.csv",
        rejected="<results>/data/rejected_files.csv",
        notes="<results>/data/image_notes.json",
    log:
        "<logs>/images.log",
    conda:
        "../envs/data.yaml"
    threads: 16
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        root=lambda wildcards: DATA_ROOT,
        files="generated" if GENERATED else lambda wildcards: folder_fingerprint(),
        store=STORE,
        settings=SETTINGS.images.model_dump(),
        data=chosen(SETTINGS.data, "include", "exclude", "bits"),
        decoders=lambda wildcards: decoders.installed(["pillow"]),  # a file set aside may be readable with another
        code=code("images"),
    script:
        "../workflow/scripts/images.py"


# A checkpoint: what follows depends on what the records say, not on whether they were written again.
checkpoint records:
    input:
        labels=os.path.join(DATA_ROOT, TABLES["labels"]),
        boxes=os.path.join(DATA_ROOT, TABLES["boxes"]),
        lists=LISTS,
        index=rules.images.output.index,
        rejected_files=rules.images.output.rejected,
        image_notes=rules.images.output.notes,
    output:
        records="<results>/data/records.csv",
        boxes="<results>/data/boxes.csv",
        rejected="<results>/data/rejected.csv",
        summary="<results>/data/summary.json",
        text="<results>/data/summary.txt",
    log:
        "<logs>/records.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        root=lambda wildcards: DATA_ROOT,
        code=code("records"),
    script:
        "../workflow/scripts/records.py"


rule settings:
    output:
        file="<results>/settings.yaml",
    log:
        "<logs>/settings.log",
    conda:
        "../envs/data.yaml"
    params:
        digest=hashlib.sha256(SETTINGS.model_dump_json().encode()).hexdigest()[:16],
        code=code("settings"),
    script:
        "../workflow/scripts/settings.py"
