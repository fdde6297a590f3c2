import math

import pytest
import torch

from finecausal_cli.diving import listed_dives, parse_dive_number
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.frame_encoder import NUMBER_LOGITS, PARTS, DiveNumberClassifier, log_probs, values_of

CONFIG = ModelConfig(
    preset="compact", trunk="frames", width=1 / 16, shared_trunk=True, foreground="top_down", frame_size=32
)


def test_a_number_is_its_parts():
    assert values_of(parse_dive_number("107B")) == [1, 0, 1, 7, 0, 1]
    assert values_of(parse_dive_number("113C")) == [1, 1, 1, 3, 0, 2]
    assert values_of(parse_dive_number("5253B")) == [5, 0, 2, 5, 3, 1]
    assert values_of(parse_dive_number("6245D")) == [6, 0, 2, 4, 5, 3]
    assert values_of(parse_dive_number("1011C")) == [1, 0, 1, 11, 0, 2]


def test_chances_are_worked_by_hand_and_add_up():
    """Two numbers that differ in one part: what is said of the others falls out."""
    opinions = torch.randn(1, NUMBER_LOGITS, generator=torch.Generator().manual_seed(0))
    place = sum([*PARTS.values()][:5])
    tuck, pike = opinions[0, place + 2].item(), opinions[0, place + 1].item()
    chances = log_probs(opinions, [parse_dive_number("107C"), parse_dive_number("107B")]).exp()
    assert chances[0, 0].item() == pytest.approx(1 / (1 + math.exp(pike - tuck)), rel=1e-5)
    assert chances.sum().item() == pytest.approx(1)
    assert log_probs(opinions, [parse_dive_number("107C")]).item() == pytest.approx(0)


def test_every_listed_number_has_a_place():
    numbers = listed_dives()
    sizes = [*PARTS.values()]
    assert all(value < size for number in numbers for value, size in zip(values_of(number), sizes, strict=True))
    assert len({tuple(values_of(number)) for number in numbers}) == len(set(numbers))


def test_it_reads_the_order_of_frames():
    torch.manual_seed(0)
    recogniser = DiveNumberClassifier().eval()
    vectors = torch.randn(2, 96, 128)
    said = recogniser(vectors)
    assert said.shape == (2, NUMBER_LOGITS)
    assert not torch.allclose(said, recogniser(vectors.flip(1)))
    recogniser.temperature.fill_(2.0)
    torch.testing.assert_close(recogniser(vectors), said / 2)


def test_a_network_that_recognises_scores_as_one_that_does_not():
    torch.manual_seed(0)
    plain = FineCausal(CONFIG).eval()
    network = FineCausal(CONFIG.model_copy(update={"recognises": True})).eval()
    network.load_state_dict(plain.state_dict(), strict=False)
    clips = torch.randn(2, 3, 96, 32, 32)
    with torch.inference_mode():
        before, after, folded = (one.encode(clips) for one in (plain, network, network.for_inference()))
    assert before.number_logits is None
    assert after.number_logits.shape == (2, NUMBER_LOGITS)
    torch.testing.assert_close(after.video, before.video, atol=0, rtol=0)
    torch.testing.assert_close(folded.number_logits, after.number_logits, atol=1e-4, rtol=1e-4)
    assert after.select([1]).number_logits.shape == (1, NUMBER_LOGITS)


def test_an_i3d_has_nothing_to_recognise_by():
    with pytest.raises(ValueError, match="recognises"):
        ModelConfig(recognises=True)
