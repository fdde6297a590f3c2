from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from finecausal_cli.data.cache import load_ahead
from finecausal_cli.errors import VideoError
from finecausal_cli.training.batches import PairBatches, StepPlan, split_groups

FIELDS = ("clips", "masks", "mirrored", "has_mask", "transitions", "execution", "query", "exemplar")


@given(some.integers(1, 9), some.integers(1, 9))
def test_every_group_is_dealt_to_one_part_and_spare_parts_count_for_nothing(groups, parts):
    batch = [(index, index + 10) for index in range(groups)]
    dealt = split_groups(batch, parts)
    assert len(dealt) == parts
    assert sorted(chain.from_iterable(mine for mine, is_spare in dealt if not is_spare)) == batch
    assert all(mine for mine, _ in dealt)
    assert sum(is_spare for _, is_spare in dealt) == max(0, parts - groups)


def steps(film, options, *, rank=0, count=1, first=0, load=None):
    batches = PairBatches(
        film.dives, SimpleNamespace(load=load or film.load), options, share=(rank, count), frame_size=32
    )
    last = options.epochs * batches.plan.steps_per_epoch
    return list(load_ahead(batches, range(first, last), workers=options.workers))


def assert_same(one, other):
    assert [part.is_spare for part in one] == [part.is_spare for part in other]
    for mine, yours in zip(one, other, strict=True):
        assert all(torch.equal(getattr(mine.batch, name), getattr(yours.batch, name)) for name in FIELDS)


@pytest.fixture(scope="module")
def six(film):
    return type(film)(count=6)


def test_two_processes_share_what_one_takes_in_two_parts(six, make_options):
    """Three groups, two a batch: the second batch of an epoch has one group, and the second process a spare part."""
    options = make_options(epochs=2, groups_per_batch=2)
    alone = steps(six, replace(options, accumulate=2))
    shared = [steps(six, options, rank=rank, count=2) for rank in (0, 1)]
    assert len(alone) == 4
    for step, (first, second) in zip(alone, zip(*shared, strict=True), strict=True):
        assert_same(step, [*first, *second])
    assert [part.is_spare for part in alone[1]] == [False, True]


def test_a_resumed_run_goes_on_with_the_step_it_left(six, make_options):
    options = make_options(epochs=3)
    whole = steps(six, options)
    for first in (1, 4, 9):
        for step, again in zip(whole[first:], steps(six, options, first=first), strict=True):
            assert_same(step, again)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_change_nothing(six, make_options):
    options = make_options(epochs=2)
    for step, ahead in zip(steps(six, options), steps(six, replace(options, workers=2)), strict=True):
        assert_same(step, ahead)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_clip_that_cannot_be_read_is_named_from_wherever_it_was_loaded(six, make_options, workers):
    def load(dive):
        if dive.key == "4.mp4":
            raise VideoError("Cannot be read: gone.", where="4.mp4", hint="put it back")
        return six.load(dive)

    with pytest.raises(VideoError) as caught:
        steps(six, make_options(workers=workers), load=load)
    assert (caught.value.what, caught.value.where, caught.value.hint) == (
        "Cannot be read: gone.",
        "4.mp4",
        "put it back",
    )


@settings(max_examples=20, deadline=None)
@given(some.integers(0, 100))
def test_steps_of_an_epoch_are_its_plan_in_any_order(step):
    """Workers ask for steps out of order; a plan must not depend on what was asked before."""
    dives = [SimpleNamespace(number=number) for number in ["107B"] * 5 + ["5253B"] * 4]
    options = SimpleNamespace(group=2, groups_per_batch=2, seed=3)
    plan = StepPlan(dives, options)
    plan.groups((step * 7) % 50)
    assert plan.groups(step) == StepPlan(dives, options).groups(step)
    assert plan.groups(step)[0] == step // plan.steps_per_epoch
