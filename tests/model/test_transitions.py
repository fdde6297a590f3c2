import torch

from finecausal_cli.model.temporal import TemporalActionParser, locate_transitions


def test_first_transition_lies_in_the_first_half_and_the_last_in_the_second():
    logits = torch.zeros(2, 96, 2)
    logits[0, 30, 0], logits[0, 70, 0] = 1.0, 5.0  # the larger one is out of the first transition's reach
    logits[0, 81, 1], logits[0, 10, 1] = 1.0, 5.0
    logits[1, 47, 0], logits[1, 48, 1] = 1.0, 1.0
    assert locate_transitions(logits).tolist() == [[30, 81], [47, 48]]


def test_gives_two_logits_a_frame_at_any_width_and_starts_at_one_frame_in_96():
    for features in (64, 256):
        parser = TemporalActionParser(features).eval()
        assert parser(torch.randn(3, 9, features)).shape == (3, 96, 2)
        torch.testing.assert_close(parser.classify[-1].bias.sigmoid(), torch.full((2,), 1 / 96))
