"""Following hands from frame to frame: where a hand was tells where to look for it, with or without a body."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from posekit.detection.hand_box import HandBox, box_from_hand
from posekit.detection.hand_detector import HandDetector

#: Whose hand, in which camera: (place of the camera, anything that stands for the hand).
HandKey = tuple[int, Hashable]

#: How fast a hand's usual size follows its size, a frame: in some 20 frames.
_SLOWLY = 0.05

_Picture = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class TrackSettings:
    """When a hand is followed, and when it is given up.

    least_confidence: mean over the 21 joints under which a followed hand counts as lost in a frame. patience: frames for
    which a lost hand is looked for where it went. largest_jump: sides of the box that a hand may move in a frame beyond
    what it did before; who is farther away is another hand, which its arm has to insist on for `patience` frames.
    largest_change: of the hand's size in a frame, either way. largest_turn: of a followed box in a frame, radians. same_place:
    two hands of a camera nearer than this part of their boxes' sides are one, seen twice.
    """

    least_confidence: float = 0.4
    patience: int = 5
    largest_jump: float = 0.5
    largest_change: float = 1.6
    largest_turn: float = 0.35
    same_place: float = 0.12


@dataclass(frozen=True, eq=False)
class FoundHand:
    """A hand in a picture. xy: (21, 2) px. confidence: (21,). left: which hand it was taken for."""

    xy: Float[np.ndarray, "21 2"]
    confidence: Float[np.ndarray, "21"]
    left: bool

    @property
    def mean_confidence(self) -> float:
        """Over all joints."""
        return float(self.confidence.mean())

    @property
    def box(self) -> HandBox:
        """Where to look for it again: about the joints that are sure, or about all where few are; of shape ()."""
        sure = self.confidence >= min(0.3, float(np.median(self.confidence)))
        box = box_from_hand(np.where(sure[:, None], self.xy, np.nan), self.left)
        return box if box.found else box_from_hand(self.xy, self.left)


@dataclass(frozen=True, eq=False)
class HandTrack:
    """A hand that is followed.

    velocity: px a frame. usual_side: of its boxes lately, px. lost: frames since it was seen. contested: since its arm was
    elsewhere.
    """

    hand: FoundHand
    box: HandBox
    velocity: Float[np.ndarray, "2"]
    usual_side: float
    lost: int = 0
    contested: int = 0

    def predicted_box(self) -> HandBox:
        """Return where the hand is now if it went on as it did; a lost hand is looked for in a larger box."""
        # Half the velocity: hands turn back as often as they go on, and the box has room for the other half.
        centre = self.box.centre + 0.5 * (self.lost + 1) * self.velocity
        return HandBox(centre, self.box.side * (1.0 + 0.1 * self.lost), self.box.angle, self.box.left)


class HandTracker:
    """Follows the hands of a capture through its frames, in all cameras at once.

    Where there is an arm's box, the hand is looked for there, twice; a hand whose arm is missing is looked for where it was.
    To follow a hand where there is an arm's box, too, would cost half and be worse: a detection that is upside down or a finger
    off cuts the next box accordingly, and stays.

    What an arm's box shows far from where the hand was a moment ago is told but not followed, until the arm has insisted for
    `patience` frames: a body detector that exchanges two people for a frame does not carry their hands away.
    """

    def __init__(self, detector: HandDetector, settings: TrackSettings | None = None) -> None:
        self.detector = detector
        self.settings = settings or TrackSettings()
        self.tracks: dict[HandKey, HandTrack] = {}

    def start(self, key: HandKey, hand: FoundHand) -> None:
        """Follow a hand from here on, as one that was found by other means."""
        self.tracks[key] = HandTrack(hand, hand.box, np.zeros(2), float(hand.box.side))

    def step(self, pictures: Sequence[_Picture | None], arms: Mapping[HandKey, HandBox]) -> dict[HandKey, FoundHand]:
        """Find the hands of the next frame.

        pictures: of every camera, RGB; None where it has none. arms: boxes of shape () from the arms, for the hands that
        have one. Returns every hand with an arm's box, however unsure, and the followed hands that were seen.
        """
        arms = {key: box for key, box in arms.items() if box.found and pictures[key[0]] is not None}
        alone = {
            key: track.predicted_box()
            for key, track in self.tracks.items()
            if key not in arms and pictures[key[0]] is not None
        }
        found = self._look(pictures, arms, 2)
        for key, hand in found.items():
            self._follow_arm(key, hand)
        seen = self._look(pictures, alone, 1)
        for key in alone:
            if key in seen and self._goes_on(self.tracks[key], seen[key]):
                found[key] = seen[key]
                self._follow(key, seen[key])
            else:
                self._lose(key)
        for key in self._seen_twice(found, arms):
            del found[key]
            self._lose(key)
        self.tracks = {key: track for key, track in self.tracks.items() if track.lost <= self.settings.patience}
        return found

    def _look(
        self, pictures: Sequence[_Picture | None], boxes: Mapping[HandKey, HandBox], passes: int
    ) -> dict[HandKey, FoundHand]:
        if not boxes:
            return {}
        many = HandBox(
            np.stack([box.centre for box in boxes.values()]),
            np.stack([box.side for box in boxes.values()]),
            np.stack([box.angle for box in boxes.values()]),
            np.stack([box.left for box in boxes.values()]),
        )
        shown = [pictures[camera] for camera, _ in boxes]
        xy, confidence = self.detector.detect_in_image(
            [picture for picture in shown if picture is not None], many, passes=passes
        )
        return {
            key: FoundHand(xy[row], confidence[row], bool(many.left[row]))
            for row, key in enumerate(boxes)
            if np.isfinite(xy[row]).all()
        }

    def _follow_arm(self, key: HandKey, hand: FoundHand) -> None:
        """Take what an arm's box shows for the followed hand, if it is not too far away."""
        track = self.tracks.get(key)
        if hand.mean_confidence < self.settings.least_confidence:
            self._lose(key)
        elif track is None or self._near(track, hand) or track.contested >= self.settings.patience:
            self._follow(key, hand)
        else:
            self.tracks[key] = replace(track, lost=track.lost + 1, contested=track.contested + 1)

    def _goes_on(self, track: HandTrack, hand: FoundHand) -> bool:
        """Whether a hand found in a followed box is one, and may be the same."""
        if not (hand.box.found and track.box.found):
            return False
        # Also against what it usually is: a finger looks like a small hand, and its tip like a smaller one.
        limit = np.log(self.settings.largest_change)
        changes = [abs(np.log(hand.box.side / side)) for side in (track.box.side, track.usual_side)]
        sure = hand.mean_confidence >= self.settings.least_confidence
        return bool(sure and max(changes) < limit and self._near(track, hand))

    def _near(self, track: HandTrack, hand: FoundHand) -> bool:
        away = np.linalg.norm(hand.box.centre - track.predicted_box().centre)
        return bool(away <= self.settings.largest_jump * (track.lost + 1) * track.box.side)

    def _follow(self, key: HandKey, hand: FoundHand) -> None:
        track, box = self.tracks.get(key), hand.box
        if track is None or not self._near(track, hand):
            self.start(key, hand)
            return
        moved = (box.centre - track.box.centre) / (track.lost + 1)
        # A fist that opens changes the size of the box, a finger that is taken for another should not; nor turn it round.
        side = np.exp(0.5 * (np.log(box.side) + np.log(track.box.side)))
        turn = np.angle(np.exp(1j * (box.angle - track.box.angle)))
        angle = track.box.angle + np.clip(turn, -self.settings.largest_turn, self.settings.largest_turn)
        steady = HandBox(box.centre, side, angle, box.left)
        usual = float(track.usual_side ** (1 - _SLOWLY) * box.side**_SLOWLY)
        self.tracks[key] = HandTrack(hand, steady, 0.5 * (track.velocity + moved), usual)

    def _lose(self, key: HandKey) -> None:
        if key in self.tracks:
            self.tracks[key] = replace(self.tracks[key], lost=self.tracks[key].lost + 1)

    def _seen_twice(self, found: Mapping[HandKey, FoundHand], arms: Mapping[HandKey, HandBox]) -> list[HandKey]:
        """Hands that are another's: of two in one place, that without an arm there, or the less sure."""
        double = []
        keys = sorted(found, key=lambda key: (key in arms, found[key].mean_confidence))
        for place, key in enumerate(keys):
            for other in keys[place + 1 :]:
                if other[0] != key[0]:
                    continue
                apart = np.linalg.norm(found[key].xy - found[other].xy, axis=-1).mean()
                if key not in arms and apart < self.settings.same_place * found[other].box.side:
                    double.append(key)
                    break
        return double
