"""How hands look: skin of all kinds, nails, sleeves, light."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class HandLooks:
    """The looks of B hands. Colours are linear RGB (B,3); directions are in the camera's frame (x right, y down).

    skin, palm, nail, sleeve: colours. flush: redness of knuckles and fingertips (B,). crease: depth of the lines (B,).
    vein: strength of veins, sinews and spots (B,). mottle: strengths of the skin's noise (B,5). sleeve_start: metres below
    the wrist (negative: over the hand), or beyond the elbow for bare arms. sleeve_thickness: metres. sleeve_pattern: (B,3)
    period in metres, strength, slant. glove: colour, and glove_end (B,) metres below the wrist where the glove ends; far
    above the fingertips (negative) for bare hands. ring_finger: (B,) 1 to 5, thumb to little finger, or 0. band: (B,3)
    metres below the wrist where a watch or bracelet begins and ends, and its thickness; none where it ends before it begins.
    metal: (B,2,3) colours of the ring and the band. gloss, shininess (B,). light: unit vector towards the lamp (B,3);
    light_colour, sky, ground (B,3). wrap: softness of the lamp (B,). occlusion: strength of the darkening in hollows (B,).
    shadow: darkness of cast shadows (B,).
    """

    skin: Tensor
    palm: Tensor
    nail: Tensor
    sleeve: Tensor
    flush: Tensor
    crease: Tensor
    vein: Tensor
    mottle: Tensor
    sleeve_start: Tensor
    sleeve_thickness: Tensor
    sleeve_pattern: Tensor
    glove: Tensor
    glove_end: Tensor
    ring_finger: Tensor
    band: Tensor
    metal: Tensor
    gloss: Tensor
    shininess: Tensor
    light: Tensor
    light_colour: Tensor
    sky: Tensor
    ground: Tensor
    wrap: Tensor
    occlusion: Tensor
    shadow: Tensor

    def __len__(self) -> int:
        return int(self.skin.shape[0])

    def take(self, index: Tensor | slice) -> HandLooks:
        """The looks at `index`."""
        return HandLooks(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device) -> HandLooks:
        """The same on another device."""
        return HandLooks(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


# sRGB samples of skin from very light to very dark, after the Monk Skin Tone scale with the chroma of photographs.
_SKIN_TONES = (
    np.array(
        [
            (246, 222, 206),
            (241, 205, 182),
            (232, 188, 160),
            (220, 168, 136),
            (203, 148, 115),
            (180, 124, 92),
            (150, 98, 70),
            (118, 74, 52),
            (88, 55, 40),
            (62, 40, 31),
        ]
    )
    / 255.0
)


def linear_from_srgb(colour: np.ndarray) -> np.ndarray:
    """Undo the display curve (gamma 2, as in hand_shading)."""
    return np.asarray(np.clip(colour, 0, 1) ** 2)


def sample_colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random linear RGB colours (count,3): half greyish, half of any saturation."""
    grey = rng.uniform(0.02, 0.95, (count, 1))
    chroma = rng.uniform(-0.5, 0.5, (count, 3)) * rng.choice([0.1, 0.35, 1.0], (count, 1))
    return linear_from_srgb(np.clip(grey + chroma, 0.01, 0.98))


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    direction = rng.standard_normal((count, 3))
    # Lamps hang above and, in front of or behind the camera, mostly light the side that it sees.
    direction[:, 1] = -np.abs(direction[:, 1]) * 1.2 + 0.35
    direction[:, 2] = direction[:, 2] - 0.7
    return np.asarray(direction / np.linalg.norm(direction, axis=1, keepdims=True))


def skin_colours(rng: np.random.Generator, tone: np.ndarray) -> np.ndarray:
    """Display colours (n,3) of skin; tone (n,) from 0, lightest, to 9, darkest."""
    low = np.floor(tone).astype(int).clip(0, len(_SKIN_TONES) - 2)
    part = (tone - low)[:, None]
    mean = _SKIN_TONES[low] * (1 - part) + _SKIN_TONES[low + 1] * part
    lightness, tint = rng.normal(0, 0.05, (len(tone), 1)), rng.normal(0, 0.02, (len(tone), 3))
    return np.asarray((mean * (1 + lightness) + tint).clip(0, 1))


#: sRGB of lamps and skies: incandescent, warm, neutral, shade, sodium, stage blue, green tubes, magenta.
_LIGHT_TINTS = np.array(
    [
        (1.0, 0.78, 0.55), (1.0, 0.92, 0.82), (1.0, 1.0, 1.0), (0.84, 0.93, 1.06),
        (1.0, 0.70, 0.35), (0.55, 0.70, 1.1), (0.8, 1.05, 0.75), (1.05, 0.65, 0.95),
    ]
)  # fmt: skip
_TINT_SHARES = np.array([0.10, 0.27, 0.32, 0.20, 0.03, 0.04, 0.02, 0.02])
#: `glove_end` of a hand without a glove.
BARE = -1.0


def _sample_light(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Lamps and skies: hard sun, soft rooms, light from behind, coloured light."""
    # How much stronger the lamp is than the sky; hard lamps are the strong ones.
    ratio = np.exp(rng.normal(np.log(1.0), 0.8, n))
    hard = np.clip(0.25 * np.log(ratio) + rng.normal(0.45, 0.25, n), 0, 1)
    # Exposure: a well-exposed hand in most pictures, whatever its skin; some dim, some washed out.
    level = np.exp(rng.normal(np.log(0.95), 0.38, (n, 1)))
    key_tint, sky_tint = (_LIGHT_TINTS[rng.choice(len(_LIGHT_TINTS), n, p=_TINT_SHARES)] for _ in range(2))
    mixed = rng.uniform(0, 0.5, (n, 1))
    sky = level * 0.85 * (sky_tint * (1 - mixed) + key_tint * mixed) * (1 + rng.normal(0, 0.04, (n, 3)))
    sky = sky / (0.35 + 0.65 * ratio[:, None])
    light = _directions(rng, n)
    behind = rng.random(n) < 0.12
    light[behind, 2] = np.abs(light[behind, 2])
    return {
        "light": light,
        "light_colour": level * 0.85 * key_tint * (ratio / (0.35 + 0.65 * ratio))[:, None],
        "sky": sky,
        "ground": sky * rng.uniform(0.25, 0.95, (n, 1)) * (1 + rng.normal(0, 0.08, (n, 3))),
        "wrap": 0.03 + 0.6 * (1 - hard) * rng.uniform(0.4, 1, n),
        "occlusion": rng.uniform(0.5, 1.0, n),
        "shadow": np.clip(0.25 + 0.75 * hard + rng.normal(0, 0.15, n), 0.1, 1),
    }


def _sample_skin(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    tone = rng.uniform(0, len(_SKIN_TONES) - 1, n)
    skin = linear_from_srgb(skin_colours(rng, tone))
    # Palms hold little melanin: dark hands have light palms.
    pink = np.array([0.78, 0.50, 0.42])
    lighter = np.clip(0.15 + 0.06 * tone + rng.normal(0, 0.06, n), 0.05, 0.75)[:, None]
    palm = skin * (1 - lighter) + lighter * pink * (0.35 + 0.65 * np.clip(skin.mean(1, keepdims=True) * 2, 0, 1))
    nail = skin * 0.6 + 0.4 * np.array([0.86, 0.62, 0.56]) * (0.4 + skin.mean(1, keepdims=True))
    nail = nail * np.exp(rng.normal(0.12, 0.12, (n, 1)))
    painted = rng.random(n) < 0.08
    nail[painted] = sample_colours(rng, int(painted.sum()))
    old = rng.random(n) < 0.2
    return {
        "skin": skin,
        "palm": palm,
        "nail": nail,
        "flush": np.where(rng.random(n) < 0.2, rng.uniform(0.3, 0.7, n), rng.uniform(0.0, 0.35, n)),
        "crease": np.where(old, rng.uniform(0.6, 1.0, n), rng.uniform(0.15, 0.7, n)),
        "vein": np.where(old, rng.uniform(0.5, 1.0, n), rng.uniform(-0.5, 0.5, n).clip(0)),
        "mottle": rng.normal(0, 1, (n, 5)) * np.array([0.035, 0.025, 0.02, 0.018, 0.018]) * (1 + 0.6 * old[:, None]),
        "gloss": rng.uniform(0.0, 0.16, n) * rng.uniform(0, 1, n),
        "shininess": rng.uniform(6, 40, n),
    }


def _sample_clothes(rng: np.random.Generator, n: int, bare_share: float) -> dict[str, np.ndarray]:
    bare = rng.random(n) < bare_share
    # Cuffs end about the wrist, sometimes far up the arm, sometimes over half of the hand.
    start = rng.choice(3, n, p=[0.62, 0.28, 0.10])
    cuff = np.choose(start, [rng.uniform(-0.01, 0.05, n), rng.uniform(0.05, 0.16, n), rng.uniform(-0.045, -0.01, n)])
    banded = rng.random(n) < 0.16
    first = rng.uniform(0.008, 0.04, n)
    width = np.exp(rng.uniform(np.log(2.5e-3), np.log(26e-3), n))
    neutral = rng.choice([0.03, 0.25, 0.65], (n, 2, 1)) * np.array([1.0, 0.97, 0.92])
    gold = np.array([0.72, 0.48, 0.18]) * rng.uniform(0.4, 1.1, (n, 2, 1))
    coloured = sample_colours(rng, 2 * n).reshape(n, 2, 3)
    which = rng.choice(3, (n, 2, 1), p=[0.5, 0.25, 0.25])
    return {
        "sleeve": sample_colours(rng, n),
        "sleeve_start": np.where(bare, 1.0, cuff),
        "sleeve_thickness": rng.uniform(0.0015, 0.009, n),
        "sleeve_pattern": np.stack(
            [rng.uniform(0.006, 0.03, n), rng.choice([0.0, 0.12, 0.5], n, p=[0.55, 0.3, 0.15]), rng.normal(0, 0.5, n)],
            axis=1,
        ),
        "glove": np.zeros((n, 3)),
        "glove_end": np.full(n, BARE),
        "ring_finger": np.where(rng.random(n) < 0.15, rng.choice([1, 2, 3, 4, 5], n, p=[0.06, 0.2, 0.24, 0.4, 0.1]), 0),
        "band": np.stack([first, np.where(banded, first + width, -1), rng.uniform(0.8e-3, 3.5e-3, n)], axis=1),
        "metal": np.where(which == 0, neutral, np.where(which == 1, gold, coloured)),
    }


def _put_on_gloves(rng: np.random.Generator, values: dict[str, np.ndarray], share: float) -> None:
    """Gloves of any colour, matte or glossy, thin or thick, for `share` of the hands, in place."""
    n = len(values["skin"])
    worn = rng.random(n) < share
    light = rng.random(n) < 0.45
    # Many gloves are white, black or the blue of latex.
    plain = np.where(light[:, None], rng.uniform(0.5, 0.9, (n, 1)), rng.uniform(0.01, 0.06, (n, 1)))
    colour = np.where(rng.random((n, 1)) < 0.4, plain * rng.uniform(0.94, 1.06, (n, 3)), sample_colours(rng, n))
    colour = np.where(rng.random((n, 1)) < 0.15, np.array([0.08, 0.25, 0.62]) * rng.uniform(0.5, 1.3, (n, 1)), colour)
    glossy = rng.random(n) < 0.4
    values["glove"] = colour
    values["glove_end"] = np.where(worn, rng.uniform(-0.005, 0.10, n), BARE)
    values["gloss"] = np.where(worn, np.where(glossy, rng.uniform(0.1, 0.45, n), 0.0), values["gloss"])
    values["ring_finger"] = np.where(worn, 0, values["ring_finger"])


def sample_looks(rng: np.random.Generator, count: int, bare_share: float = 0.5, glove_share: float = 0.08) -> HandLooks:
    """Draw the looks of `count` hands; `bare_share` of them have no sleeve, `glove_share` wear gloves."""
    values = {**_sample_skin(rng, count), **_sample_clothes(rng, count, bare_share), **_sample_light(rng, count)}
    _put_on_gloves(rng, values, glove_share)
    return HandLooks(**{name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in values.items()})
