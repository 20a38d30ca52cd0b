"""Networks: what counts as a layer, what is trained, what the added layer reads."""

import pytest
import torch

from cxr.classifiers.networks import Classifier, TransferClassifier, frozen_stages, parametered_layers
from cxr.errors import InputError
from cxr.training.batches import normalised
from cxr.training.loop import trained_state
from cxr.training.resnet import resnet


def test_resnet50_has_107_parametered_layers_counted_from_the_end():
    layers = parametered_layers(resnet("resnet50", 1000))
    kinds = [type(module).__name__ for _, module in layers]
    assert (len(layers), kinds.count("Conv2d"), kinds.count("BatchNorm2d"), kinds.count("Linear")) == (107, 53, 53, 1)
    assert layers[-1][0] == "fc"
    assert all(name.startswith("layer4.") for name, _ in layers[-19:-1])
    assert layers[-19][0].startswith("layer4.0")


@pytest.mark.parametrize("layers", [0, 1, 5, 25])
def test_exactly_the_last_c_layers_and_the_head_change(layers):
    torch.manual_seed(0)
    network = TransferClassifier(resnet("resnet10", 20), layers, 15, "logits", "eval")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network.train()
    network(torch.rand(4, 1, 64, 64)).square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    names = [f"backbone.{name}" for name, _ in parametered_layers(network.backbone)]
    expected = set(names[len(names) - layers :]) | {"head"}
    assert {name.rpartition(".")[0] for name in changed} == expected
    assert changed <= set(trained_state(network))


def test_frozen_batch_norm_uses_and_collects_the_batchs_statistics_as_it_is_told():
    images = torch.rand(4, 1, 64, 64)
    for mode, collects, of_batch in (("eval", False, False), ("batch", True, True), ("keras", False, True)):
        torch.manual_seed(0)
        network = TransferClassifier(resnet("resnet10", 20), 0, 15, "logits", mode)
        tested = network.eval()(images)
        before = {name: tensor.clone() for name, tensor in network.named_buffers() if "running" in name}
        trained = network.train()(images)
        assert torch.equal(tested, trained) is not of_batch
        for name, tensor in before.items():
            assert torch.equal(network.get_buffer(name), tensor) is not collects, name


def test_batch_norm_that_is_trained_collects_statistics_under_every_kind_of_frozen_one():
    for mode in ("eval", "batch", "keras"):
        network = TransferClassifier(resnet("resnet10", 20), 4, 15, "logits", mode).train()
        before = network.backbone.layer4[0].bn2.running_mean.clone()
        network(torch.rand(4, 1, 64, 64))
        assert not torch.equal(network.backbone.layer4[0].bn2.running_mean, before)


@pytest.mark.parametrize(("head_input", "width"), [("softmax", 20), ("logits", 20), ("features", 192)])
def test_the_head_reads_what_is_asked_for(head_input, width):
    network = TransferClassifier(resnet("resnet10", 20), 0, 15, head_input, "eval").eval()
    images, source = torch.rand(3, 1, 64, 64), network.backbone
    expected = {
        "softmax": torch.softmax(source(normalised(images)), 1),
        "logits": source(normalised(images)),
        "features": source.pooled(normalised(images)),
    }[head_input]
    read = []
    network.head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    found = network(images)
    assert network.head.in_features == width and found.shape == (3, 15)
    assert torch.allclose(read[0], expected, rtol=1e-5, atol=1e-7)
    assert torch.allclose(found, torch.nn.functional.linear(expected, network.head.weight, network.head.bias))
    sums = read[0].sum(1)
    assert torch.allclose(sums, torch.ones(3)) == (head_input == "softmax"), "probabilities of one image add up to 1"


@pytest.mark.parametrize("layers", [0, 2, 9])
def test_frozen_stages_are_shared_only_where_no_batch_changes_what_they_give(layers):
    def shared(mode):
        return TransferClassifier(resnet("resnet10", 20), layers, 15, "logits", mode).shared

    assert shared("eval") == frozen_stages(resnet("resnet10", 20), layers) != []
    assert shared("batch") == shared("keras") == []


def test_more_layers_than_the_network_has_is_refused():
    with pytest.raises(InputError, match=r"c = 26.*25 parametered layers"):
        TransferClassifier(resnet("resnet10", 20), 26, 15, "logits", "eval")


@pytest.mark.parametrize(("init", "bound", "biases"), [("torch", 0.0316, True), ("glorot", 0.0769, False)])
def test_the_added_layer_starts_uniform(init, bound, biases):
    head = TransferClassifier(resnet("resnet10", 1000), 0, 15, "softmax", "eval", init).head
    assert 0.99 * bound < head.weight.abs().max() <= 1.001 * bound
    assert abs(head.weight.std() - bound / 3**0.5) < 0.05 * bound
    assert (head.bias != 0).all() == biases == (head.bias != 0).any()


def test_a_baseline_gives_fifteen_logits():
    assert Classifier("resnet18", 15)(torch.rand(2, 1, 64, 64)).shape == (2, 15)


@pytest.mark.parametrize("name", ["resnet50", "resnet18"])
def test_our_resnets_are_torchvisions_bit_for_bit(name):
    """Same names in the same order, same initial weights from a seed, same outputs in training and evaluation."""
    from torchvision import models

    torch.manual_seed(3)
    theirs = getattr(models, name)(num_classes=10)
    torch.manual_seed(3)
    ours = resnet(name, 10)
    one, other = theirs.state_dict(), ours.state_dict()
    assert list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)
    assert [key for key, _ in theirs.named_modules()] == [key for key, _ in ours.named_modules()]
    images = torch.randn(2, 3, 64, 64)
    for network in (theirs, ours):
        network.train()
    assert torch.equal(theirs(images), ours(images))
    assert torch.equal(theirs.eval()(images), ours.eval()(images))
