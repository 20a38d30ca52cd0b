"""The comparison of the grid CNN's variants in a study: which jobs it adds, and that it trains nothing else again."""

from running import planned

CONFIG = ["paper={gridcnn: {variants: {draws: 2, fewer: 8}}}"]
ADDED = {"gridcnn_fewer": 2, "gridcnn_variant": 8, "gridcnn_variants": 1}


def test_each_variant_is_trained_in_each_draw(repository, tmp_path):
    found = planned(repository, tmp_path, "--", "results/tiny/ledger/paper_variants.csv", config=CONFIG)
    assert found == ADDED | {"phantoms": 1, "images": 1, "records": 1}


def test_asking_for_the_comparison_trains_no_detector_again(repository, finished):
    assert planned(repository, finished, config=CONFIG) == ADDED | {"settings": 1, "report": 1}
