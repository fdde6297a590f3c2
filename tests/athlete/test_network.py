import numpy as np
import pytest
import torch

from finecausal_cli.athlete import BONES, JOINT, JOINTS, MIRRORED
from finecausal_cli.athlete.network import (
    DIRECTIONS,
    AthleteNetwork,
    Backbone,
    NetworkConfig,
    imagenet_parameters,
    soft_argmax,
)


def test_mirroring_twice_changes_nothing_and_keeps_the_middle():
    assert [MIRRORED[MIRRORED[index]] for index in range(len(JOINTS))] == list(range(len(JOINTS)))
    assert {JOINTS[index] for index in range(len(JOINTS)) if MIRRORED[index] == index} == {"pelvis", "neck", "head"}


def test_bones_join_every_joint_into_one_skeleton():
    reached = {JOINT["pelvis"]}
    for _ in JOINTS:
        reached |= {b for a, b in BONES if a in reached} | {a for a, b in BONES if b in reached}
    assert reached == set(range(len(JOINTS)))


def test_the_backbone_has_the_size_of_efficientnet_lite0_without_its_classifier():
    # 4,652,008 parameters of the published model, less head convolution, its norm and the classifier of 1,000 classes.
    published, head, classifier = 4_652_008, 320 * 1280 + 2 * 1280, 1280 * 1000 + 1000
    assert sum(value.numel() for value in Backbone().parameters()) == published - head - classifier


def test_outlines_are_twice_as_fine_as_the_maps_of_joints_whatever_the_size():
    maps = AthleteNetwork().eval()(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert maps.outline.shape == (2, 32, 48)
    assert maps.heat.shape == (2, len(JOINTS), 16, 24)
    assert maps.direction.shape == (2, DIRECTIONS)


def test_frozen_stages_stay_as_they_are_through_training_steps():
    network = AthleteNetwork(NetworkConfig(width=8, embedding=8))
    network.freeze(3)
    network.train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    maps = network(torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8))
    sum(value.float().square().mean() for value in maps).backward()
    optimizer.step()
    after = network.backbone.state_dict()
    frozen = ("stem.", "stages.0.", "stages.1.", "stages.2.")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in changed if name.startswith(frozen)]
    assert [name for name in changed if name.startswith("stages.6.")]


def test_soft_argmax_is_where_the_whole_distribution_lies():
    heat = torch.full((1, 1, 8, 16), -50.0)
    heat[0, 0, 2, 12] = 50.0
    place = soft_argmax(heat)[0, 0]
    np.testing.assert_allclose(place.numpy(), [12.5 / 16, 2.5 / 8], atol=1e-6)


def test_the_ports_names_cover_every_parameter_of_the_backbone():
    backbone = Backbone()

    class Anything(dict):
        def __missing__(self, name):
            self[name] = name
            return name

    asked = Anything()
    named = imagenet_parameters(asked)
    assert set(named) == set(backbone.state_dict())
    assert len(asked) == len(named)


@pytest.mark.parametrize("size", [63, 64, 65, 100])
def test_padding_is_tensorflows_so_maps_round_up(size):
    maps = Backbone().eval()(torch.zeros(1, 3, size, size))
    assert [one.shape[-1] for one in maps] == [-(-size // stride) for stride in (2, 4, 8, 16, 32)]


@pytest.fixture
def moving():
    """A network that also looks at what moves, and what it has learnt to add is not nothing."""
    torch.manual_seed(0)
    network = AthleteNetwork(NetworkConfig(width=8, embedding=8, movement=True)).eval()
    for layer in network.movement.add:
        torch.nn.init.normal_(layer.weight)
    return network


def pictures_and_movement():
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
    moved = torch.randint(0, 255, (2, 4, 64, 64), dtype=torch.uint8, generator=generator)
    return pictures, moved


def test_a_network_begins_by_taking_no_notice_of_what_moves():
    network = AthleteNetwork(NetworkConfig(width=8, embedding=8, movement=True)).eval()
    pictures, moved = pictures_and_movement()
    for seen, alone in zip(network(pictures, moved), network(pictures), strict=True):
        torch.testing.assert_close(seen, alone)


def test_what_moves_is_seen_in_the_pictures_that_have_neighbours_alone(moving):
    pictures, moved = pictures_and_movement()
    moved[1] = 0  # no neighbour shows anything of it
    seen, alone = moving(pictures, moved), moving(pictures)
    assert not torch.allclose(seen.heat[0], alone.heat[0], atol=1e-2)
    assert not torch.allclose(seen.seen[0], alone.seen[0], atol=1e-7)
    torch.testing.assert_close(seen.recognised, alone.recognised)  # by the pictures alone
    torch.testing.assert_close(alone.recognised, alone.seen)
    for with_movement, without in zip(seen, alone, strict=True):
        torch.testing.assert_close(with_movement[1], without[1], atol=1e-4, rtol=1e-4)
