"""The player of a page: what its curves say, and what a person does with it in a browser."""

import base64
import re
from dataclasses import replace

import numpy as np
import pytest

from finecausal_cli.athlete import JOINTS
from finecausal_cli.athlete.track import BodyTrack
from finecausal_cli.report.pages import explanation_page
from finecausal_cli.report.player import ClipExcerpt, build_player, curves_of, cut_excerpt
from finecausal_cli.scoring.athlete_track import AthleteTrack
from finecausal_cli.scoring.results import AthleteFrame
from finecausal_cli.video.writer import write_video

AIR_S, RISE_M_S, ACROSS_M_S, TURNS = 1.4, 3.0, 1.0, 1.5
FPS, FRAMES = 25, 60


def body_at(angle):
    """Joints of a straight body, metres about the pelvis, its trunk at an angle from the right."""
    along = {"pelvis": 0.0, "neck": 0.55, "head": 0.8, "shoulder": 0.5, "elbow": 0.8, "wrist": 1.0}
    along |= {"hip": 0.0, "knee": -0.45, "ankle": -0.85}
    places = np.array([along[name.removesuffix("_l").removesuffix("_r")] for name in JOINTS])
    return places[:, None] * np.array([np.cos(angle), np.sin(angle)])


@pytest.fixture(scope="module")
def track():
    """A straight body that turns 1 1/2 times at an even pace in free fall."""
    times = np.linspace(-0.4, AIR_S + 0.4, 96)
    flying = np.clip(times, 0, AIR_S)
    angles = np.pi / 2 - 2 * np.pi * TURNS * flying / AIR_S
    middle = np.stack([ACROSS_M_S * times, np.where(times > 0, RISE_M_S * times - 4.905 * times**2, 0)], axis=1)
    return BodyTrack(
        times_s=times,
        joints_m=np.stack([body_at(angle) for angle in angles]).astype(np.float32),
        confidence=np.full((96, len(JOINTS)), 0.9, np.float32),
        seen=np.ones(96, np.float32),
        path_m=middle.astype(np.float32),
        area_m2=np.full(96, 0.4, np.float32),
        air_s=AIR_S,
    )


def test_curves_show_the_turn_the_bends_and_the_fall(track):
    curves = {curve.name: curve for curve in curves_of(track)}
    middle = int(np.abs(track.times_s - AIR_S / 2).argmin())
    time = float(track.times_s[middle])
    assert curves["turn of the trunk"].values[middle] == pytest.approx(360 * TURNS * time / AIR_S, abs=3)
    assert curves["turn of the trunk"].span[1] == pytest.approx(360 * TURNS, abs=3)
    assert max(filter(None, curves["bend of the hips"].values), default=0.0) < 2
    assert max(filter(None, curves["bend of the knees"].values), default=0.0) < 2
    speed = np.hypot(ACROSS_M_S, RISE_M_S - 9.81 * time)
    # The centre of mass lies beside the pelvis and circles it.
    assert curves["speed of the body's middle"].values[middle] == pytest.approx(speed, abs=2.5)
    assert curves["height of the body's middle"].values[middle] == pytest.approx(
        RISE_M_S * time - 4.905 * time**2, abs=0.6
    )


def test_what_is_not_read_is_a_gap_and_without_a_track_there_is_no_curve(track):
    unseen = replace(track, seen=np.where(np.abs(track.times_s - 0.7) < 0.1, 0, 1).astype(np.float32))
    for curve in curves_of(unseen):
        assert curve.values[int(np.abs(track.times_s - 0.7).argmin())] is None
        assert curve.values[-1] is None  # under water
    assert curves_of(None) == []


@pytest.fixture(scope="module")
def followed(track, evidence):
    """Evidence whose athlete stands in the middle of the picture, seen in every frame."""
    times = np.linspace(0, (FRAMES - 1) / FPS, 96)
    places = zip(JOINTS, np.linspace(-40, 40, len(JOINTS)).tolist(), strict=True)
    middle = {name: (100.0 + place, 60.0 - place, 0.9) for name, place in places}
    frames = tuple(AthleteFrame(time_s=time, box=None, confidence=1.0, joints=middle) for time in times.tolist())
    return replace(
        evidence,
        source_frames=np.rint(times * FPS).astype(np.int64),
        fps=FPS,
        times_s=times,
        track=AthleteTrack(frames, None, None, None, None, track),
        source_size=(120, 200),
    )


@pytest.fixture(scope="module")
def page(followed, make_explanation, tmp_path_factory):
    """A page with a video whose brightness tells the frame."""
    folder = tmp_path_factory.mktemp("page")
    clip = folder / "dive.mp4"
    write_video(clip, (np.full((120, 200, 3), 40 + 3 * index, np.uint8) for index in range(FRAMES)), FPS)
    explanation = make_explanation(text=str(clip))
    stages = tuple(
        stage.model_copy(update={"start_s": begin, "end_s": end})
        for stage, begin, end in zip(explanation.assessment.stages, (0.0, 0.6, 2.0), (0.6, 2.0, 2.4), strict=True)
    )
    explanation = explanation.model_copy(
        update={"assessment": explanation.assessment.model_copy(update={"stages": stages, "clip_end_s": None})}
    )
    excerpt = cut_excerpt(explanation.assessment, followed)
    assert len(excerpt.times_s) == FRAMES + 1
    path = folder / "page.html"
    path.write_text(explanation_page(explanation, followed, {}, excerpt=excerpt), encoding="utf-8")
    return path


def frame_shown(browser):
    """Which frame the video shows, by its brightness."""
    value = browser.run(
        """(() => {
          const video = document.querySelector("video"), canvas = document.createElement("canvas");
          canvas.width = canvas.height = 8;
          const pen = canvas.getContext("2d");
          pen.drawImage(video, 0, 0, 8, 8);
          return pen.getImageData(4, 4, 1, 1).data[1];
        })()"""
    )
    return round((value - 40) / 3)


def cursor(browser):
    """Where the cursor of the curves stands, as a share of their width."""
    return float(browser.run("document.querySelector('.player').style.getPropertyValue('--at')").rstrip("%")) / 100


def until(browser, frame):
    """Wait until a frame is shown."""
    browser.wait("document.querySelector('video').readyState >= 2 && !document.querySelector('video').seeking")
    browser.wait(f"document.querySelector('[data-is=clock]').textContent.includes('frame {frame + 1} of {FRAMES}')")
    assert abs(frame_shown(browser) - frame) <= 1


@pytest.fixture
def opened(browser, page):
    browser.open(page)
    if not browser.run("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.640028\"')"):
        pytest.skip("this Chromium cannot play H.264")
    until(browser, 0)
    return browser


def test_clicks_seek_the_video_and_the_cursor_follows(opened):
    opened.click(".plot")
    until(opened, FRAMES // 2)
    assert cursor(opened) == pytest.approx(0.5, abs=0.02)
    # Half of the 96 samples lie before: 0.7 s after the take-off, when half of the turn is done.
    trunk = opened.run("document.querySelector('[data-curve]').textContent")
    assert float(trunk.removesuffix("°")) == pytest.approx(360 * TURNS / 2, abs=15)
    opened.click(".chips li:nth-child(2) button")
    until(opened, 15)
    assert cursor(opened) == pytest.approx(0.6 / 2.4, abs=0.02)
    assert opened.run("document.querySelector('.chips [aria-current=true]').textContent").startswith("flight")
    opened.click(".seeks .lost")
    until(opened, 15)  # most is lost in the flight
    opened.key(".", "Period")
    until(opened, 16)
    opened.key("ArrowLeft")
    opened.key(",", "Comma")
    until(opened, 14)
    opened.key("3", "Digit3")
    until(opened, 50)
    assert opened.errors == []


def test_it_plays_slowly_with_the_cursor_and_stops(opened):
    for _ in range(4):
        opened.key("-", "Minus")
    assert opened.run("document.querySelector('video').playbackRate") == 0.1
    opened.click("[data-is=play]")
    opened.wait("document.querySelector('video').currentTime > 0.05")
    opened.wait("parseFloat(document.querySelector('.player').style.getPropertyValue('--at')) > 1")
    opened.key("k", "KeyK")
    opened.wait("document.querySelector('video').paused")
    time = opened.run("document.querySelector('video').currentTime")
    assert cursor(opened) == pytest.approx(time / 2.4, abs=0.03)


def test_the_skeleton_is_drawn_over_the_athlete_and_can_be_hidden(opened):
    drawn = """(() => {
      const canvas = document.querySelector(".screen canvas");
      const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const places = [];
      for (let at = 3; at < all.length; at += 4) if (all[at] > 128)
        places.push([(at >> 2) % canvas.width / canvas.width, Math.floor((at >> 2) / canvas.width) / canvas.height]);
      return places.length ? [places.length, ...[0, 1].map((side) =>
        places.reduce((sum, place) => sum + place[side], 0) / places.length)] : [0, 0, 0];
    })()"""
    count, x, y = opened.run(drawn)
    assert count > 100
    assert (x, y) == (pytest.approx(0.5, abs=0.12), pytest.approx(0.5, abs=0.15))
    opened.key("s", "KeyS")
    opened.wait("!document.querySelector('[data-is=bones]').checked")
    assert opened.run(drawn)[0] == 0


def test_the_curves_have_a_time_axis_in_seconds_of_the_file(page):
    axis = re.search(r'<p class="axis faint">(.*?)</p>', page.read_text(encoding="utf-8"))[1]
    assert re.findall(r"<span>([^<]*)</span>", axis) == ["0.00 s", "time in the video", "2.40 s"]


def test_no_stage_breaks_its_name_on_a_phone(opened):
    opened.show(width=360, height=700)
    lines = """[...document.querySelectorAll('.chips button')].map((button) => {
      const range = document.createRange();
      range.selectNodeContents(button.firstChild);
      return range.getClientRects().length;
    })"""
    assert opened.run(lines) == [1, 1, 1]


def test_it_fits_a_phone_and_two_pages_of_paper(opened):
    opened.show(width=360, height=700)
    wide = opened.run("document.documentElement.scrollWidth")
    assert wide <= 360
    unlabelled = (
        "[...document.querySelectorAll('button, input, select, video')].filter((each) => !each.textContent.trim()"
    )
    assert opened.run(f"{unlabelled} && !each.ariaLabel && !(each.labels || []).length).length") == 0
    printed = base64.b64decode(opened.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 2


def test_the_data_of_the_script_cannot_leave_its_element(followed, make_explanation):
    hostile = make_explanation(text="</script><b>")
    player = build_player(hostile, followed, ClipExcerpt(b"", np.arange(3) / 25, 0.0, (120, 200), 5 / 3))
    assert "<" not in player.data
