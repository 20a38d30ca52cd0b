"""Which transfer jobs a protocol asks for."""

import pytest

from cxr import settings
from runner import plans


def protocol(**transfer):
    return settings.load({"sound": {"transfer": transfer, "baseline": {"size": transfer.pop("baseline", 0)}}}).sound


def test_the_papers_grid_has_260_pairs_each_in_one_bundle_of_at_most_ten():
    paper = settings.DEFAULTS.paper
    pairs, bundles = plans.pairs(paper), plans.bundles(paper)
    assert len(pairs) == len(set(pairs)) == 260 and pairs[0] == (0, 100) and pairs[-1] == (19, 5000)
    assert plans.trained(paper) == [(*pair, "") for pair in pairs], "a single training of each"
    assert sorted(each for bundle in bundles.values() for each in bundle) == sorted(plans.trained(paper))
    assert len(bundles) == 26 and {len(bundle) for bundle in bundles.values()} == {10}
    assert all(len({size for _, size, _ in bundle}) == 1 for bundle in bundles.values()), "a job reads one split"
    assert bundles["s5000_1"] == [(layers, 5000, "") for layers in range(10, 20)]


def test_repeats_draw_images_for_every_pair_and_change_the_seed_alone_at_the_ends_of_the_depths():
    some = protocol(layers=[0, 4, 10], sizes=[20, 40], repeats=3)
    trained = plans.trained(some)
    assert len(trained) == len(set(trained)) == 3 * 6 + 2 * 4
    assert {repeat for *_, repeat in trained} == {"", "_r1", "_r2", "_seed1", "_seed2"}
    assert {layers for layers, _, repeat in trained if repeat == "_seed2"} == {0, 10}
    assert [(plans.draw_of(name), plans.number_of(name)) for name in ("", "_r2", "_seed2")] == [
        ("", 0), ("_r2", 2), ("", 2)
    ]  # fmt: skip
    assert sorted(plans.training_sets(some)) == sorted(
        [("20", 0), ("20_r1", 1), ("20_r2", 2), ("20", 1), ("20", 2), ("40", 0), ("40_r1", 1), ("40_r2", 2), ("40", 1), ("40", 2)]
    )  # fmt: skip
    assert plans.drawn(some) == [(20, 1), (20, 2), (40, 1), (40, 2)]
    assert plans.sizes(some) == ["20", "40", "all"], "further draws are no sizes"


def test_a_bundle_reads_one_split_in_one_order():
    bundles = plans.bundles(protocol(layers=list(range(11)), sizes=[40], repeats=2))
    assert {name: len(each) for name, each in bundles.items()} == {
        "s40_0": 10, "s40_1": 1, "s40_r1_0": 10, "s40_r1_1": 1, "s40_seed1_0": 2
    }  # fmt: skip
    for name, bundle in bundles.items():
        assert {repeat for *_, repeat in bundle} == {name.removeprefix("s40")[:-2]}


def test_the_last_bundle_holds_the_rest():
    bundles = plans.bundles(protocol(layers=list(range(11)), sizes=[40]))
    assert {name: len(bundle) for name, bundle in bundles.items()} == {"s40_0": 10, "s40_1": 1}


@pytest.mark.parametrize(
    ("baseline", "expected"), [(0, ["20", "40", "all"]), (40, ["20", "40"]), (60, ["20", "40", "60"])]
)
def test_every_size_is_split_once(baseline, expected):
    some = protocol(layers=[0], sizes=[20, 40], baseline=baseline)
    assert plans.sizes(some) == expected and plans.baseline_size(some) == (str(baseline) if baseline else "all")


def test_compared_choices_are_every_input_with_every_batch_norm_on_every_pair():
    comparison = {
        "layers": [0, 4],
        "sizes": [600],
        "head_input": ["softmax", "features"],
        "frozen_batchnorm": ["eval", "keras"],
    }
    some = protocol(layers=[0], sizes=[20], comparison=comparison)
    jobs = plans.compared(some)
    assert len(jobs) == len(set(jobs)) == 8 and ("softmax", "keras", 4, 600) in jobs
    assert plans.sizes(some) == ["20", "all", "600"]
    assert plans.compared(settings.DEFAULTS.sound) == []


@pytest.mark.parametrize(
    ("norm", "gigabytes", "shared"),
    [("eval", 60, True), ("eval", 0, False), ("batch", 60, False), ("keras", 60, False)],
)
def test_features_are_shared_where_no_batch_changes_them_and_there_is_room(norm, gigabytes, shared):
    assert plans.shares_features(protocol(features_gb=gigabytes), norm) is shared
