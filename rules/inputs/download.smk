# Inputs and params of the rules of the download.


def release_files():
    if GENERATED:
        sys.exit(
            "Error: data.source is phantoms: nothing is downloaded; give the configuration of a study on NIH images"
        )
    return engine.or_exit(release.read, SETTINGS.download.table or f"{HERE}/config/release.csv")


def release_file(wildcards):
    files = release_files()
    if wildcards.file not in files:
        sys.exit(f"Error: the address table has no file '{wildcards.file}'; it has {', '.join(files)}")
    return dataclasses.asdict(files[wildcards.file])


def everything_downloaded(wildcards):
    """The files that `download` waits for; free disk space is checked once, before the first job."""
    files = release_files()
    store = f"{DATA_ROOT}/downloaded"
    engine.or_exit(
        acquire.require_room,
        files.values(),
        Path(DATA_ROOT),
        store=Path(store),
        keep_archives=SETTINGS.download.keep_archives,
        parallel=SETTINGS.download.parallel,
    )
    return [f"{store}/{name}.json" for name in files]
