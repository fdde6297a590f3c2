import subprocess
import sys

import pytest
from pydantic import ValidationError

from finecausal_cli import video as clip
from finecausal_cli.model import config
from finecausal_cli.model.config import PRESETS, ModelConfig


def test_presets_differ_where_the_released_code_leaves_the_paper():
    assert {name: preset.preset for name, preset in PRESETS.items()} == {name: name for name in PRESETS}
    reference = PRESETS["reference"]
    assert (reference.readout, reference.tca_mode, reference.geometry) == ("o", "replace", "squeeze")
    assert [name for name, preset in PRESETS.items() if preset.static_branch] == ["reference"]
    assert PRESETS["finecausal"] == ModelConfig()
    assert PRESETS["reference"].features == PRESETS["finecausal"].features == 1024
    assert PRESETS["compact"].features == 256


@pytest.mark.parametrize(
    "wrong", [{"width": 0.3}, {"width": 1 / 64}, {"width": 1.5}, {"frame_size": 100}, {"tcaa": True}]
)
def test_refuses_networks_that_cannot_be_built(wrong):
    with pytest.raises(ValidationError):
        ModelConfig(**wrong)


def test_stages_weights_sum_to_one_and_the_snippets_are_the_clip_s():
    assert sum(config.STAGE_WEIGHTS) == pytest.approx(1)
    assert (config.FRAMES, config.SNIPPETS) == (clip.CLIP_FRAMES, clip.SNIPPETS)
    assert (config.SNIPPET_FRAMES, config.SNIPPET_STRIDE) == (clip.SNIPPET_FRAMES, clip.SNIPPET_STRIDE)


def test_reading_a_configuration_costs_no_torch():
    code = "import sys, finecausal_cli.model.config, finecausal_cli.model; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
