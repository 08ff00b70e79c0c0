"""Hands in all frames of all cameras: of bodies that were found, or of hands that are all one sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray

from posekit.detection.arms import SIDES, BodyFollower
from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.detection.hand_search import SearchSettings, search_hands
from posekit.detection.tracking import FoundHand, HandKey, HandTracker, TrackSettings

Pictures = Sequence[UInt8[np.ndarray, "H W 3"] | None]

Found = tuple[Float[np.ndarray, "C H 21 2"], Float[np.ndarray, "C H 21"]]


class HandsOfBodies:
    """Finds the hands of bodies frame after frame, following each from one to the next.

    steady_slots: slot p is the same person in all frames, as a triangulation leaves them; else who is who is told from where
    the bodies are.
    """

    def __init__(
        self, detector: HandDetector, settings: TrackSettings | None = None, *, steady_slots: bool = False
    ) -> None:
        self.tracker = HandTracker(detector, settings)
        self.steady_slots = steady_slots
        self._followers: dict[int, BodyFollower] = {}

    def step(self, pictures: Pictures, bodies: Float[np.ndarray, "C P J 2"], boxes: HandBox) -> Found:
        """Find the hands of one frame.

        pictures: of every camera. bodies: px. boxes: (C, H), H = 2 P, left hand of slot 0 first, NaN where there is none.
        Returns px and confidence; NaN and 0 where no hand was found. A hand that is followed while its arm is not seen has a
        place as long as its body has one.
        """
        C, P = bodies.shape[:2]
        who = self._who(bodies)
        arms: dict[HandKey, HandBox] = {}
        slots: dict[HandKey, int] = {}
        for c, p in np.argwhere(who >= 0).tolist():
            for s in range(len(SIDES)):
                key = (c, 2 * int(who[c, p]) + s)
                slots[key] = 2 * p + s
                if boxes.found[c, 2 * p + s]:
                    arms[key] = boxes[c, 2 * p + s]
        xy = np.full((C, 2 * P, 21, 2), np.nan)
        confidence = np.zeros((C, 2 * P, 21))
        found = self.tracker.step(pictures, arms)
        for whose, slot in slots.items():
            if whose in found:
                xy[whose[0], slot], confidence[whose[0], slot] = found[whose].xy, found[whose].confidence
        return xy, confidence

    def _who(self, bodies: Float[np.ndarray, "C P J 2"]) -> Int[np.ndarray, "C P"]:
        if self.steady_slots:
            # Also while no joint of them is seen: the rig may know their arms from the other views.
            return np.tile(np.arange(bodies.shape[1]), (len(bodies), 1))
        return np.stack([self._followers.setdefault(c, BodyFollower()).step(xy) for c, xy in enumerate(bodies)])


@dataclass(frozen=True)
class LoneHandSettings:
    """hands: the most there are in a picture. search_every: frames between two searches of a picture that lacks one.
    settled: mean confidence of a followed hand below which the picture is searched, too, for a surer one in its place.
    turn_every: frames after which a followed hand is looked at from all sides, and as the other hand. surer: how much surer
    such a look must be to be believed.
    """

    hands: int = 1
    search_every: int = 15
    settled: float = 0.7
    turn_every: int = 10
    surer: float = 1.05
    search: SearchSettings = field(default_factory=SearchSettings)
    track: TrackSettings = field(default_factory=TrackSettings)


class LoneHands:
    """Finds hands without a body: searched for in the whole picture, then followed from frame to frame."""

    def __init__(self, detector: HandDetector, settings: LoneHandSettings | None = None) -> None:
        self.settings = settings or LoneHandSettings()
        self.tracker = HandTracker(detector, self.settings.track)
        self._searched: dict[int, int] = {}
        self._frame = 0

    def step(
        self, pictures: Pictures
    ) -> tuple[Float[np.ndarray, "C H 21 2"], Float[np.ndarray, "C H 21"], Bool[np.ndarray, "C H"]]:
        """Find the hands of one frame; H is `settings.hands`, and a hand keeps its place as long as it is followed.

        Returns px and confidence, NaN and 0 where no hand was found, and which were taken for left hands in this frame.
        """
        count = self.settings.hands
        found = self.tracker.step(pictures, {})
        if self._frame % self.settings.turn_every == 0:
            found.update(self._turned(pictures, found))
        for c, picture in enumerate(pictures):
            due = self._frame - self._searched.get(c, -self.settings.search_every) >= self.settings.search_every
            if picture is None or not due:
                continue
            followed = {h: self.tracker.tracks[c, h].hand for h in range(count) if (c, h) in self.tracker.tracks}
            open_places = [h for h in range(count) if h not in followed]
            unsure = [h for h, hand in followed.items() if hand.mean_confidence < self.settings.settled]
            if not open_places and not unsure:
                continue
            self._searched[c] = self._frame
            places = open_places + sorted(unsure, key=lambda h: followed[h].mean_confidence)
            for h, hand in zip(places, self._new(picture, list(followed.values())), strict=False):
                if h in followed and hand.mean_confidence <= self.settings.surer * followed[h].mean_confidence:
                    continue
                self.tracker.start((c, h), hand)
                found[(c, h)] = hand
        self._frame += 1
        xy = np.full((len(pictures), count, 21, 2), np.nan)
        confidence = np.zeros((len(pictures), count, 21))
        left = np.zeros((len(pictures), count), dtype=np.bool_)
        for c, h in np.ndindex(len(pictures), count):
            if (c, h) in found:
                hand = found[c, h]
                xy[c, h], confidence[c, h], left[c, h] = hand.xy, hand.confidence, hand.left
        return xy, confidence, left

    def _turned(self, pictures: Pictures, found: Mapping[HandKey, FoundHand]) -> dict[HandKey, FoundHand]:
        """Look at followed hands from all sides: one that is upside down stays so if nobody asks."""
        better = {}
        for key, hand in found.items():
            picture = pictures[key[0]]
            if picture is None:
                continue
            box = self.tracker.tracks[key].box
            both = HandBox(np.stack([box.centre] * 2), box.side, np.nan, [False, True])
            xy, confidence = self.tracker.detector.detect_in_image(picture, both)
            best = int(confidence.mean(axis=-1).argmax())
            if confidence[best].mean() > self.settings.surer * hand.mean_confidence:
                better[key] = FoundHand(xy[best], confidence[best], bool(best))
                self.tracker.start(key, better[key])
        return better

    def _new(self, picture: NDArray[np.uint8], known: list[FoundHand]) -> list[FoundHand]:
        hands = search_hands(self.tracker.detector, picture, self.settings.hands, self.settings.search)
        return [
            hand
            for hand in hands
            if all(np.linalg.norm(hand.box.centre - old.box.centre) > 0.3 * old.box.side for old in known)
        ]
