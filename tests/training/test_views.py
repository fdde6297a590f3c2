from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from finecausal_cli.data.batch import BackgroundSwap, normalise
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.errors import DatasetError, UsageError
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.training import TrainOptions, batches
from finecausal_cli.training.batches import FOLDER, Views
from finecausal_cli.training.run import train
from finecausal_cli.training.trainer import Callbacks
from finecausal_cli.video import crop
from finecausal_cli.weights.store import load_weights

CPU = torch.device("cpu")
GROUPS = [(0, 1, 2), (3, 1)]


class Counted:
    """Stands for the clip cache and counts how often a clip is read."""

    def __init__(self, film):
        self.reads = 0
        self._film = film

    def digest(self, dive):
        return f"{int(dive.key[0]):032x}"

    def load(self, dive):
        self.reads += 1
        return self._film.load(dive)


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    return FineCausal(config).eval()


@pytest.fixture
def clips(film):
    return Counted(film)


def test_the_first_view_is_the_dive_as_scoring_sees_it(model, film, clips):
    views = Views(model, clips, None, 3)
    for dive in film.dives:
        found = views.load(dive)
        with torch.inference_mode():
            clip = film.load(dive)
            whole = model.encode(normalise(crop(clip.frames, 32)).unsqueeze(0))
        torch.testing.assert_close(found.encoding.video[:1], whole.video, atol=1e-5, rtol=1e-4)
        assert found.transitions[0].tolist() == list(clip.transitions)
        assert len(found.encoding) == 3
        assert not torch.allclose(found.encoding.video[1], found.encoding.video[0], atol=1e-4)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_make_the_views_that_one_makes(model, film, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "_VIEWS_A_PROCESS", 1)
    alone = Views(model, clips, None, 2)
    made = [alone.load(dive) for dive in film.dives]
    first, clips.reads = Views(model, clips, tmp_path, 2), 0
    first.load(film.dives[2])
    assert clips.reads == 1
    assert len(list(first.make(film.dives, cores=2))) == len(film.dives)
    again = Views(model, clips, tmp_path, 2)
    assert len(list(again.make(film.dives, cores=2))) == len(film.dives)
    for views in (first, again):
        for dive, one in zip(film.dives, made, strict=True):
            assert torch.equal(views.load(dive).encoding.video, one.encoding.video)
            assert torch.equal(views.load(dive).transitions, one.transitions)
    assert clips.reads == 1  # the others by other processes, and each once
    assert len([*(tmp_path / FOLDER).glob("*/*")]) == len(film.dives)


def test_views_are_made_once_and_shared_by_all_that_have_the_same_trunk(model, film, clips, tmp_path):
    first = Views(model, clips, tmp_path, 2)
    made = [first.load(dive) for dive in film.dives]
    assert clips.reads == len(film.dives)
    torch.manual_seed(1)
    other_heads = FineCausal(model.config)
    other_heads.video_trunk.load_state_dict(model.video_trunk.state_dict())
    again = Views(other_heads, clips, tmp_path, 2)
    for dive, one in zip(film.dives, made, strict=True):
        assert torch.equal(again.load(dive).encoding.video, one.encoding.video)
        assert torch.equal(again.load(dive).transitions, one.transitions)
    assert clips.reads == len(film.dives)
    Views(FineCausal(model.config), clips, tmp_path, 2).load(film.dives[0])
    Views(model, clips, tmp_path, 3).load(film.dives[0])
    assert clips.reads == len(film.dives) + 2


@pytest.mark.parametrize("damage", ["cut", "field", "empty"])
def test_a_damaged_file_is_made_again(model, film, clips, tmp_path, damage):
    dive = film.dives[0]
    made = Views(model, clips, tmp_path, 2).load(dive)
    (file,) = (tmp_path / FOLDER).glob("*/*.safetensors")
    if damage == "field":
        save_file({"video": load_file(file)["video"]}, file)
    else:
        file.write_bytes(file.read_bytes()[: 0 if damage == "empty" else -7])
    assert torch.equal(Views(model, clips, tmp_path, 2).load(dive).encoding.video, made.encoding.video)
    assert clips.reads == 2
    assert torch.equal(load_file(file)["video"], made.encoding.video)


def test_a_batch_draws_views_and_has_the_targets_of_their_clips(model, film, clips):
    views = Views(model, clips, None, 4)
    drawn = set()
    for epoch in range(6):
        batch = views.collate(GROUPS, film.dives, seed=3, epoch=epoch)
        again = views.collate(GROUPS, film.dives, seed=3, epoch=epoch)
        assert torch.equal(batch.encoding.video, again.encoding.video)
        for place, index in enumerate((0, 1, 2, 3, 1)):
            known = views.load(film.dives[index])
            (view,) = (
                view for view in range(4) if torch.equal(known.encoding.video[view], batch.encoding.video[place])
            )
            assert torch.equal(batch.transitions[place], known.transitions[view])
            assert batch.execution[place] == np.float32(film.dives[index].execution)
            drawn.add(view)
        assert list(zip(batch.query.tolist(), batch.exemplar.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2), (3, 4)]
    assert drawn == {0, 1, 2, 3}


def test_views_before_other_backgrounds_are_kept_apart(model, film, clips, tmp_path):
    dives = [replace(dive, mask=dive.video, entry_start=70) for dive in film.dives]
    plain = Views(model, clips, tmp_path, 3).load(dives[0]).encoding.video
    made = Views(model, clips, tmp_path, 3, swap=BackgroundSwap(dives, clips, 1.0)).load(dives[0]).encoding.video
    assert torch.equal(made[0], plain[0]), "the first view is the dive as it is"
    assert not torch.allclose(made[1:], plain[1:], atol=1e-4)
    assert torch.equal(Views(model, clips, tmp_path, 3).load(dives[0]).encoding.video, plain)
    reads = clips.reads
    again = Views(model, clips, tmp_path, 3, swap=BackgroundSwap(dives, clips, 1.0)).load(dives[0]).encoding.video
    assert torch.equal(again, made)
    assert clips.reads == reads


def test_mask_features_are_those_of_the_network_that_asks(model, film, clips):
    views = Views(model, clips, None, 1)
    torch.manual_seed(5)
    other = FineCausal(model.config).eval()
    found = views.encoded(other, film.dives)
    assert found.dives == tuple(film.dives)
    assert found.transitions == ((30, 70),) * 4
    with torch.inference_mode():
        torch.testing.assert_close(found.encodings.mask, other.parser.project(found.encodings.video))
    own = Encoding(found.encodings.video, torch.zeros_like(found.encodings.mask))
    two_trunks = FineCausal(model.config.model_copy(update={"shared_trunk": False}))
    assert two_trunks.project_mask_features(own) is own


def test_what_stands_behind_the_trunk_learns_and_the_rest_stays(
    make_trainer, config, film, clips, make_options, tmp_path
):
    options = make_options(epochs=4, freeze_backbone=True, views=2)
    torch.manual_seed(0)
    network = FineCausal(config)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    views = Views(network, clips, None, 2)
    trainer = make_trainer(network, clips, options, tmp_path, dives=film.dives, views=views)
    seen = []
    trainer.fit(Callbacks(step=lambda _, losses: seen.append(losses)))
    assert clips.reads == len(film.dives)
    assert len(seen) == trainer.config.steps
    assert "foreground" not in seen[0]
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not [name for name in changed if name.startswith(("video_trunk", "parser.heads"))]
    assert {"parser.project.weight", "regression.judge.0.weight", "transition_parser.classify.0.weight"} <= changed


@pytest.mark.thorough
def test_a_whole_run_on_views_reads_no_video_twice(small_dataset, config, make_options, tmp_path):
    cache = tmp_path / "cache"
    torch.manual_seed(0)
    options = make_options(epochs=2, freeze_backbone=True, views=2)
    best = train(small_dataset, tmp_path / "a", config=config, options=options, cache=cache, device=CPU)
    assert len([*(cache / FOLDER).glob("*/*.safetensors")]) == 7
    for clip in cache.glob("*.clip"):
        clip.unlink()
    again = train(small_dataset, tmp_path / "b", config=config, options=options, cache=cache, device=CPU)
    assert not [*cache.glob("*.clip")]
    one, two = (load_weights(folder) for folder in (best, again))
    assert one.digest == two.digest
    assert one.info["training"]["validation"]["rho"] == two.info["training"]["validation"]["rho"]
    assert one.info["interval"] == two.info["interval"]


def test_a_learning_trunk_has_no_views():
    with pytest.raises(UsageError) as caught:
        TrainOptions(views=3)
    assert "--freeze-backbone" in caught.value.what
    assert caught.value.where == "--views"


@pytest.mark.thorough
def test_a_run_learns_from_swapped_backgrounds_the_same_way_twice(small_dataset, config, make_options, tmp_path):
    weights = []
    for name, share in (("a", 1.0), ("b", 1.0), ("c", 0.0)):
        options = make_options(epochs=1, swap_backgrounds=share)
        best = train(small_dataset, tmp_path / name, config=config, options=options, cache=None, device=CPU)
        weights.append(load_weights(best).digest)
    assert weights[0] == weights[1] != weights[2]


def test_swapped_backgrounds_need_masks(small_dataset, config, make_options, tmp_path):
    def without_masks(folder):
        return [replace(dive, mask=None) for dive in read_dataset(folder)]

    options = make_options(swap_backgrounds=0.5)
    with pytest.raises(DatasetError) as caught:
        train(small_dataset, tmp_path, config=config, options=options, cache=None, device=CPU, read=without_masks)
    assert caught.value.where == str(small_dataset)
    assert "--swap-backgrounds" in caught.value.hint
