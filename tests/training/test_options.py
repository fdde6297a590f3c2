import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from finecausal_cli.config import REQUIRED, info_of
from finecausal_cli.errors import TrainingError, UsageError
from finecausal_cli.model.config import PRESETS
from finecausal_cli.training import (
    EndOptions,
    NetworkOptions,
    PretrainNetworkOptions,
    ReaderOptions,
    SkeletonOptions,
    TrainOptions,
    build_config,
    check_precision,
)


@pytest.mark.parametrize(
    ("given", "flag", "says"),
    [
        ({"epochs": 0}, "--epochs", "at least 1, not 0"),
        ({"group": 1}, "--group", "at least 2, not 1"),
        ({"groups_per_batch": 0}, "--groups-per-batch", "not 0"),
        ({"lr": -1e-3}, "--lr", "greater than 0, not -0.001"),
        ({"backbone_lr": 0.0}, "--backbone-lr", "greater than 0"),
        ({"warmup": 1.0}, "--warmup", "less than 1"),
        ({"precision": "fp8"}, "--precision", "'fp32', 'bf16' or 'fp16', not 'fp8'"),
        (
            {"groups_per_batch": 2, "accumulate": 3},
            "--accumulate",
            "3 parts of a batch of 2 groups (--groups-per-batch)",
        ),
        ({"freeze_batchnorm": "some"}, "--freeze-batchnorm", "'none', 'trunks' or 'all'"),
        ({"ema": 1.0}, "--ema", "less than 1, not 1.0"),
        ({"patience": 0}, "--patience", "not 0"),
        ({"init": "kinetics:"}, "--init", "'kinetics:' names nothing: a folder of weights, trunk:FOLDER or kinetics:"),
        ({"workers": -1}, "--workers", "not -1"),
        ({"seed": -1}, "--seed", "not -1"),
        ({"validate_every": 0}, "--validate-every", "not 0"),
        ({"epochs": "many"}, "--epochs", "integer"),
        ({"batch": 3}, "--batch", "no such option"),
    ],
)
def test_a_value_out_of_range_names_its_flag(given, flag, says):
    with pytest.raises(UsageError) as caught:
        TrainOptions.from_dict(given)
    assert caught.value.where == flag
    assert says in caught.value.what


@pytest.mark.parametrize("given", [{"lr": float("nan")}, {"lr": float("inf")}, {"clip_norm": float("inf")}])
def test_numbers_must_be_finite(given):
    with pytest.raises(UsageError):
        TrainOptions(**given)


@pytest.mark.parametrize("kind", [ReaderOptions, EndOptions, SkeletonOptions])
def test_a_rate_at_which_nothing_is_learned_is_refused(kind):
    paths = {each.name: ("a",) for each in fields(kind) if each.default is REQUIRED}
    paths |= {name: "a" for name in ("out", "reader") if name in paths}
    assert kind.from_dict(paths).lr > 0
    with pytest.raises(UsageError, match="--lr: must be greater than 0"):
        kind.from_dict({**paths, "lr": 0.0})
    if kind is SkeletonOptions:
        with pytest.raises(UsageError, match="--pair-lr: must be greater than 0"):
            kind.from_dict({**paths, "pair_lr": 0.0})


def test_the_help_names_every_preset_that_can_be_trained():
    helps = [info_of(kind.__dataclass_fields__["preset"]).help for kind in (NetworkOptions, PretrainNetworkOptions)]
    assert helps[0] == "compact, finecausal, reference or skeleton; compact, or that of --init."
    assert helps[1] == "compact, finecausal or reference; compact, or that of --init."
    assert all(name in helps[0] for name in PRESETS)


def test_what_is_given_is_kept_and_survives_json():
    options = TrainOptions(epochs=7, lr=2e-4, precision="bf16")
    assert (options.epochs, options.lr, options.precision) == (7, 2e-4, "bf16")
    assert TrainOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_pretrained_trunks_learn_at_the_rate_of_the_paper():
    assert TrainOptions().backbone_lr == 1e-3
    assert TrainOptions(init="kinetics:rgb.pt").backbone_lr == 1e-4
    assert TrainOptions(init="kinetics:rgb.pt", backbone_lr=5e-4).backbone_lr == 5e-4


def test_what_may_be_none_is_left_to_the_options():
    assert TrainOptions(backbone_lr=None, patience=None, init=None) == TrainOptions()
    with pytest.raises(UsageError, match="--epochs: must be a whole number"):
        TrainOptions(epochs=None)


@pytest.mark.parametrize(
    ("ablate", "gat", "tca"),
    [("", True, True), ("gat", False, True), ("tca", True, False), (" gat , tca ", False, False), (",", True, True)],
)
def test_modules_are_left_out_by_name(ablate, gat, tca):
    config = build_config("compact", ablate=ablate)
    assert (config.gat, config.tca) == (gat, tca)
    assert config.model_copy(update={"gat": True, "tca": True}) == PRESETS["compact"]


def test_an_unknown_preset_or_module_is_refused():
    known = r"\(one of reference, finecausal, compact, skeleton\)"
    with pytest.raises(UsageError, match=f"--preset: no preset 'huge' {known}"):
        build_config("huge")
    with pytest.raises(UsageError, match="--ablate: 'parser' cannot be left out"):
        build_config("compact", ablate="gat,parser")


@pytest.mark.parametrize(
    ("preset", "precision", "device", "is_refused"),
    [
        ("finecausal", "fp32", "cpu", False),
        ("finecausal", "bf16", "cpu", True),
        ("finecausal", "fp16", "cuda", False),
        ("compact", "bf16", "cpu", False),
        ("compact", "fp16", "cpu", True),
    ],
)
def test_precisions_whose_gradients_are_wrong_are_refused(preset, precision, device, is_refused):
    device = torch.device(device)
    if is_refused:
        with pytest.raises(TrainingError, match=f"--precision: {precision} gradients are wrong on a CPU"):
            check_precision(precision, PRESETS[preset], device)
    else:
        check_precision(precision, PRESETS[preset], device)


def test_a_larger_network_that_reads_bodies_is_an_option():
    options = SkeletonOptions((Path("bodies"),), (Path("films"),), (Path("held"),), Path("run"))
    assert options.network() == PRESETS["skeleton"]
    assert replace(options, width=0.5).network().features == 512
    with pytest.raises(UsageError, match=r"--width: 0\.3 is no multiple of 1/64"):
        replace(options, width=0.3).network()
