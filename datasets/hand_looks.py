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
    mottle: strengths of the skin's noise (B,5). sleeve_start: metres below the wrist, or beyond the elbow for bare
    arms. sleeve_thickness: metres. sleeve_pattern: (B,3) period in metres, strength, slant. gloss, shininess (B,).
    light: unit vector towards the lamp (B,3); light_colour, sky, ground (B,3). wrap: softness of the lamp (B,).
    occlusion: strength of the darkening in hollows (B,). shadow: darkness of cast shadows (B,).
    """

    skin: Tensor
    palm: Tensor
    nail: Tensor
    sleeve: Tensor
    flush: Tensor
    crease: Tensor
    mottle: Tensor
    sleeve_start: Tensor
    sleeve_thickness: Tensor
    sleeve_pattern: Tensor
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

    def take(self, index: Tensor) -> HandLooks:
        """The looks at `index` (N,)."""
        return HandLooks(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


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


def sample_looks(rng: np.random.Generator, count: int, bare_share: float = 0.5) -> HandLooks:
    """Draw the looks of `count` hands; `bare_share` of them wear no sleeve."""
    n = count
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
    bare = rng.random(n) < bare_share
    key = rng.uniform(0.2, 1.3, n)
    tint = np.array([1.0, 0.92, 0.82])
    warm = rng.uniform(-0.6, 1.4, (n, 1))
    colour = (1 + (tint - 1) * warm) * key[:, None]
    sky = rng.uniform(0.25, 0.8, (n, 1)) * (1 + rng.normal(0, 0.06, (n, 3)))
    ground = sky * rng.uniform(0.25, 0.9, (n, 1)) * (1 + rng.normal(0, 0.08, (n, 3)))
    # Exposure: a well-exposed hand in most pictures, whatever its skin; some dim, some washed out.
    level = np.exp(rng.normal(0, 0.25, (n, 1)))
    values = {
        "skin": skin,
        "palm": palm,
        "nail": nail,
        "sleeve": sample_colours(rng, n),
        "flush": rng.uniform(0.0, 0.35, n),
        "crease": rng.uniform(0.2, 0.75, n),
        "mottle": rng.normal(0, 1, (n, 5)) * np.array([0.035, 0.025, 0.02, 0.018, 0.018]),
        "sleeve_start": np.where(bare, 1.0, rng.uniform(0.005, 0.12, n)),
        "sleeve_thickness": rng.uniform(0.0015, 0.009, n),
        "sleeve_pattern": np.stack(
            [rng.uniform(0.004, 0.03, n), rng.choice([0.0, 0.12, 0.6], n), rng.uniform(-2, 2, n)], axis=1
        ),
        "gloss": rng.uniform(0.0, 0.16, n) * rng.uniform(0, 1, n),
        "shininess": rng.uniform(6, 40, n),
        "light": _directions(rng, n),
        "light_colour": colour * level,
        "sky": sky * level,
        "ground": ground * level,
        "wrap": rng.uniform(0.05, 0.6, n),
        "occlusion": rng.uniform(0.5, 1.0, n),
        "shadow": rng.uniform(0.3, 1.0, n),
    }
    return HandLooks(**{name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in values.items()})
