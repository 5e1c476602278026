"""The counts of benchmarks/complexity.py against hand counts and what the networks' authors publish."""

import pytest
import torch
from torch import nn

from benchmarks.complexity import Part, active_parameters, multiply_adds, parts_of, scan_flops
from mmifn.encoders.vmamba import build_vmamba
from mmifn.encoders.vmamba.config import VARIANTS


def test_matrix_products_convolutions_and_attention_are_counted():
    linear, conv = nn.Linear(5, 7), nn.Conv2d(3, 4, 3, padding=1, bias=False)
    query = torch.zeros(1, 2, 6, 8)
    assert multiply_adds(lambda: linear(torch.zeros(2, 5))) == 2 * 5 * 7
    assert multiply_adds(lambda: conv(torch.zeros(1, 3, 10, 12))) == 10 * 12 * 4 * 3 * 9
    assert multiply_adds(lambda: nn.functional.scaled_dot_product_attention(query, query, query)) == 2 * 2 * 6 * 6 * 8


def test_the_scan_is_counted_step_by_step():
    """Walk one line of three pixels in four directions, two channels, N = 2, R = 1, and count by hand."""
    count = 0
    for _direction in range(4):
        for _pixel in range(3):
            for _channel in range(2):
                count += 1  # the step from its one rank
                count += 1  # step times input
                for _state in range(2):
                    count += 4
    count += 3 * 2  # the skip
    assert scan_flops((1, 1, 3, 2), (1, 1, 3, 4, 5), (4, 2, 1), (4, 2), (4, 2, 2), (2,)) == 2 * count


def test_vmamba_has_what_its_authors_publish():
    """4.9 G at 224x224: release table of VMamba (Liu et al., 2024), which counts the scan's steps a little otherwise."""
    network = build_vmamba("vmamba_tiny_s1l8").eval()
    assert multiply_adds(lambda: network(torch.zeros(1, 3, 224, 224))) / 1e9 == pytest.approx(4.9, abs=0.06)


def test_what_people_mind_is_counted_though_scoring_folds_its_norms():
    people = parts_of("offline", torch.device("cpu"))["people"]
    assert active_parameters(people) == sum(value.numel() for value in people.network.parameters()) > 2e6
    assert multiply_adds(people.lightly) > 1e8  # one view of 224 x 224


def test_only_parameters_in_use_are_counted():
    network = build_vmamba("vmamba_tiny_s1l8").eval()
    maps = Part("maps", list, lambda: network.forward_features(torch.rand(1, 3, 32, 32)), network)
    head = sum(value.numel() for value in network.classifier.parameters())
    assert head == 768 * 1000 + 1000 + 2 * 768
    assert active_parameters(maps) == VARIANTS["vmamba_tiny_s1l8"].parameters - head
    assert all(not value.requires_grad for value in network.parameters())
