"""The kinds of venue there are, as parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]

Backdrop = Literal["panels", "curtain", "glass", "bricks", "slats", "tiles", "leds", "sky"]
Land = Literal["", "trees", "skyline", "mountains", "stands"]
Tower = Literal["block", "columns", "slab", "stairs", "truss"]
Rail = Literal["bars", "mesh", "panel", "glass"]


@dataclass(frozen=True, slots=True)
class Style:
    """A kind of venue.

    Attributes:
        name: What it is called.
        backdrop: What closes the view behind the pool.
        wall: Colour of the backdrop at the bottom and at the top.
        water: Colour of the water near the camera and far from it.
        accent: Colours of banners and seats.
        deck: Colour of the floor around the pool.
        crowd: Share of the backdrop that the audience fills.
        gain: Brightness.
        warmth: White balance: red up and blue down by this share.
        light: Strength of the directed light, 0..1.
        tower: How the platforms are carried.
        rail: Railing of the platforms.
        land: What stands before the sky.
        windows: Whether the wall has windows.
        lamps: Whether spotlights hang in the picture.
        scoreboard: Whether there is a scoreboard.
        flags: Whether flags hang over the pool.
        tiles: Whether the tiles of the floor shine through the water.
        ropes: Whether lane ropes lie on the water.
    """

    name: str
    backdrop: Backdrop
    wall: tuple[Colour, Colour]
    water: tuple[Colour, Colour]
    accent: tuple[Colour, ...]
    deck: Colour
    crowd: float
    gain: float
    warmth: float
    light: float
    tower: Tower
    rail: Rail
    land: Land = ""
    windows: bool = False
    lamps: bool = False
    scoreboard: bool = False
    flags: bool = False
    tiles: bool = False
    ropes: bool = False


STYLES: tuple[Style, ...] = (
    Style(
        name="blue hall",
        backdrop="panels",
        wall=((44, 84, 140), (26, 50, 96)),
        water=((16, 96, 158), (74, 150, 196)),
        accent=((236, 236, 240), (20, 60, 150), (230, 120, 30)),
        deck=(150, 176, 196),
        crowd=0.35,
        gain=1.0,
        warmth=-0.03,
        light=0.75,
        tower="block",
        rail="bars",
        scoreboard=True,
        flags=True,
        ropes=True,
    ),
    Style(
        name="dark arena",
        backdrop="curtain",
        wall=((30, 30, 38), (12, 12, 18)),
        water=((8, 60, 108), (30, 96, 144)),
        accent=((190, 30, 60), (235, 190, 40), (60, 60, 70)),
        deck=(78, 84, 96),
        crowd=0.65,
        gain=0.95,
        warmth=0.0,
        light=1.0,
        tower="slab",
        rail="panel",
        lamps=True,
        scoreboard=True,
    ),
    Style(
        name="glass hall",
        backdrop="glass",
        wall=((196, 206, 208), (226, 236, 242)),
        water=((30, 140, 158), (138, 206, 210)),
        accent=((40, 110, 70), (240, 240, 240), (120, 130, 140)),
        deck=(206, 204, 196),
        crowd=0.10,
        gain=1.03,
        warmth=-0.02,
        light=0.45,
        tower="columns",
        rail="glass",
        tiles=True,
    ),
    Style(
        name="outdoor",
        backdrop="sky",
        wall=((196, 218, 236), (96, 152, 214)),
        water=((24, 120, 176), (120, 186, 216)),
        accent=((230, 60, 50), (250, 220, 70), (40, 90, 170)),
        deck=(198, 190, 172),
        crowd=0.16,
        gain=1.05,
        warmth=0.02,
        light=1.0,
        tower="columns",
        rail="bars",
        land="trees",
        flags=True,
        tiles=True,
        ropes=True,
    ),
    Style(
        name="old baths",
        backdrop="bricks",
        wall=((168, 138, 104), (126, 100, 78)),
        water=((34, 116, 96), (104, 166, 146)),
        accent=((150, 40, 30), (220, 208, 180), (60, 80, 60)),
        deck=(176, 160, 136),
        crowd=0.15,
        gain=0.97,
        warmth=0.06,
        light=0.65,
        tower="block",
        rail="bars",
        windows=True,
        tiles=True,
    ),
    Style(
        name="club pool",
        backdrop="tiles",
        wall=((214, 206, 190), (228, 224, 216)),
        water=((30, 104, 170), (120, 176, 210)),
        accent=((30, 80, 160), (240, 240, 240), (210, 60, 60)),
        deck=(186, 168, 150),
        crowd=0.05,
        gain=1.0,
        warmth=0.02,
        light=0.55,
        tower="truss",
        rail="mesh",
        ropes=True,
    ),
    Style(
        name="sunset stadium",
        backdrop="sky",
        wall=((250, 186, 120), (104, 92, 140)),
        water=((26, 58, 88), (176, 132, 118)),
        accent=((240, 150, 60), (70, 50, 90), (250, 230, 200)),
        deck=(150, 120, 108),
        crowd=0.48,
        gain=0.98,
        warmth=0.10,
        light=0.95,
        tower="slab",
        rail="mesh",
        land="stands",
        lamps=True,
    ),
    Style(
        name="roof pool",
        backdrop="sky",
        wall=((214, 224, 228), (160, 190, 214)),
        water=((20, 156, 176), (118, 214, 214)),
        accent=((0, 130, 140), (250, 250, 250), (240, 90, 110)),
        deck=(222, 218, 210),
        crowd=0.06,
        gain=1.04,
        warmth=-0.01,
        light=0.8,
        tower="stairs",
        rail="glass",
        land="skyline",
        tiles=True,
    ),
    Style(
        name="timber hall",
        backdrop="slats",
        wall=((172, 118, 70), (120, 78, 46)),
        water=((10, 84, 104), (70, 136, 140)),
        accent=((240, 234, 220), (90, 60, 36), (40, 100, 90)),
        deck=(110, 112, 112),
        crowd=0.22,
        gain=1.0,
        warmth=0.05,
        light=0.7,
        tower="columns",
        rail="glass",
        scoreboard=True,
    ),
    Style(
        name="white arena",
        backdrop="leds",
        wall=((206, 210, 218), (150, 156, 170)),
        water=((36, 148, 200), (140, 208, 232)),
        accent=((220, 30, 90), (30, 160, 120), (60, 70, 200), (245, 190, 30)),
        deck=(60, 150, 160),
        crowd=0.5,
        gain=1.02,
        warmth=-0.04,
        light=0.6,
        tower="stairs",
        rail="panel",
        scoreboard=True,
        flags=True,
    ),
    Style(
        name="mountain lido",
        backdrop="sky",
        wall=((226, 236, 246), (110, 166, 226)),
        water=((60, 146, 190), (160, 214, 226)),
        accent=((200, 40, 40), (250, 250, 250), (60, 60, 60)),
        deck=(186, 188, 182),
        crowd=0.0,
        gain=1.06,
        warmth=-0.03,
        light=0.9,
        tower="block",
        rail="mesh",
        land="mountains",
        tiles=True,
    ),
    Style(
        name="night final",
        backdrop="leds",
        wall=((40, 24, 70), (18, 12, 36)),
        water=((24, 30, 110), (80, 70, 170)),
        accent=((160, 40, 220), (30, 200, 230), (250, 70, 160)),
        deck=(52, 48, 80),
        crowd=0.58,
        gain=0.96,
        warmth=-0.05,
        light=1.0,
        tower="truss",
        rail="bars",
        lamps=True,
        scoreboard=True,
    ),
)
"""The venues there are; colours vary about these."""
