from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.report.explanation import (
    LIMITS,
    attention_in_words,
    checks,
    limits_of,
    measured_section,
    summarise_explanation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.scoring.results import Assessment, Explanation


def test_the_summary_says_what_was_measured(explanation: Explanation) -> None:
    # 24.75 x 3.3 = 81.675; take-off 0.4 x 0.3, flight -1.205 x 0.5, entry -1.8 x 0.2, each x 3.3.
    assert summarise_explanation(explanation) == [
        "The dive scores 78.89 points, 2.78 less than the mean of 2 exemplars (81.67 at the same difficulty).",
        "Most lost at flight: -1.99 points against 2 exemplars.",
        "Most won at take-off: +0.40 points against 2 exemplars.",
        "With the flight of the exemplars the score would be 81.08 (+2.19), +0.20 of it in later stages; 2 of 2 "
        "scores would rise.",
        "With the mean flight of the bank's 7 dives of 5253B the score would be 79.99 (+1.10), +0.10 of it in "
        "later stages; 2 of 2 scores would rise.",
        "With the mean flight of the bank's best dive of 5253B the score would be 81.81 (+2.92), +0.27 of it in later "
        "stages; 2 of 2 scores would rise.",
        "With the flight frozen the score would be 61.64 (-17.25): it listens to the flight.",
        "With another background, the score changes by 2.50 points at most.",
    ]


def test_one_exemplar_is_called_by_its_name(
    make_assessment: Callable[..., Assessment], make_explanation: Callable[..., Explanation]
) -> None:
    said = summarise_explanation(make_explanation(make_assessment([(0, 0, -2.0)], [25.0]), bank_mean=False))
    assert said[0] == (
        "The dive scores 81.18 points, 1.32 less than exemplar sim-5253B-0000 (82.50 at the same difficulty)."
    )
    assert said[1] == "Most lost at entry: -1.32 points against exemplar sim-5253B-0000."
    assert said[2] == "With the entry of the exemplar the score would be 82.50 (+1.32)."


def test_a_dive_like_its_exemplars_has_lost_nothing(
    make_assessment: Callable[..., Assessment], make_explanation: Callable[..., Explanation]
) -> None:
    said = summarise_explanation(make_explanation(make_assessment([(0, 0, 0)] * 2, [24.0, 26.0]), bank_mean=False))
    assert said[:3] == [
        "The dive scores 82.50 points, as much as the mean of 2 exemplars.",
        "No stage wins or loses a point against 2 exemplars.",
        "No stage of the exemplars in place of the dive's own would raise the score.",
    ]


def test_a_gain_within_what_the_borders_do_is_called_so(make_explanation: Callable[..., Explanation]) -> None:
    shaky = " ".join(summarise_explanation(make_explanation(jitter=2.5)))
    assert "That is no more than moving the stage borders by 2 frames can do (2.50)." in shaky
    assert "no more than" not in " ".join(summarise_explanation(make_explanation(jitter=0.3)))


def test_the_limits_begin_with_what_the_weights_know_and_say_nothing_twice(explanation: Explanation) -> None:
    twice = explanation.model_copy(update={"notes": explanation.assessment.notes})
    said = limits_of(twice)
    assert said[0] == "These weights: Trained on simulated dives only; not calibrated for competition footage."
    assert said.count(explanation.assessment.notes[0]) == 1
    assert tuple(said[-len(LIMITS) :]) == LIMITS


def test_nothing_is_said_of_a_stage_that_is_unsure(make_explanation: Callable[..., Explanation]) -> None:
    why = "its border is 0.52 s after the take-off in the video"
    said = " ".join(summarise_explanation(make_explanation(unsure={"takeoff": why, "flight": why})))
    assert "Most lost" not in said  # most is lost at the flight
    assert "Most won" not in said  # and won at the take-off
    assert "With the flight of" not in said
    assert "With the mean flight" not in said
    assert said.endswith(f"Nothing is said of take-off and flight: {why}.")
    other = " ".join(
        summarise_explanation(make_explanation(unsure={"entry": "the athlete is seen in 0 of its 4 frames"}))
    )
    assert "Most lost at flight" in other
    assert "Nothing is said of entry: the athlete is seen in 0 of its 4 frames." in other


def test_attention_tells_if_its_snippet_costs_twice_what_others_do(
    make_explanation: Callable[..., Explanation],
) -> None:
    explanation = make_explanation()
    assert attention_in_words(explanation) == (
        "Attention tells what matters here: without the most attended snippet the score changes by 1.20 points, "
        "without another one by 0.40 on average."
    )
    deletion = explanation.checks.deletion
    assert deletion is not None
    weak = explanation.checks.model_copy(update={"deletion": deletion.model_copy(update={"change": 0.79})})
    said = attention_in_words(explanation.model_copy(update={"checks": weak}))
    assert said is not None
    assert said.startswith("Attention does not tell what matters here: ")
    assert attention_in_words(make_explanation(graph=False)) is None


def test_facts_are_shown_with_unit_and_error_or_with_the_reason_why_not(explanation: Explanation) -> None:
    assert measured_section(explanation.measurements).rows == (
        ("time in the air", "1.43 s", "± 0.05 s"),
        ("half somersaults", "5", "97% sure"),
        ("fastest rotation", "812 deg/s", "± 61 deg/s"),
        ("angle at the entry", "-6 deg", "± 8 deg"),
        ("lean at the take-off", "-", "filmed along the dive"),
    )


def test_a_frozen_flight_is_shown_with_what_it_costs(explanation: Explanation) -> None:
    rows = {row[0]: row[1:] for row in checks(explanation).rows}
    frozen = rows["flight frozen: its first picture in all 44 frames"]
    assert frozen == ("61.64 (-17.25)", "listens to the flight")
