"""MediaPipe's hand detector in a process of its own; its interpreter needs mediapipe, not posekit.

``python mediapipe_worker.py HANDS [MODEL.task]``: with a model by the Tasks API, without one by the ``solutions`` of mediapipe
up to 0.10.21, whose wheel carries its models. Prints ``ready`` and the version. Then, for every line ``WIDTH HEIGHT TIME`` (in
milliseconds) and the RGB bytes of a picture on stdin, prints a line of JSON: per hand its label, that label's score, and 21
places (x, y) as parts of the width and height. Ends with stdin.
"""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

#: A picture and its time in milliseconds -> [label, score, places] of each hand.
Detect = Callable[[Any, int], list[Any]]


def serve(hands: int, model: str | None) -> None:
    """Answer until stdin ends."""
    # Whatever the library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        import numpy as np

        mediapipe: Any = importlib.import_module("mediapipe")
        detect = by_tasks(mediapipe, hands, model) if model else by_solutions(mediapipe, hands)
    except ImportError as error:
        sys.exit(f"mediapipe cannot be imported ({error})")
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(" ".join(str(error).split())[:300])
    answers.write(f"ready {mediapipe.__version__}\n")
    answers.flush()
    while header := sys.stdin.buffer.readline():
        width, height, milliseconds = (int(word) for word in header.split())
        pixels = sys.stdin.buffer.read(3 * width * height)
        picture = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)
        answers.write(json.dumps(detect(picture, milliseconds)) + "\n")
        answers.flush()


def by_tasks(mediapipe: Any, hands: int, model: str) -> Detect:
    """Return what finds hands by the Tasks API and its model file."""
    vision = mediapipe.tasks.vision
    options = vision.HandLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode.VIDEO,
        num_hands=hands,
    )
    landmarker = vision.HandLandmarker.create_from_options(options)

    def detect(picture: Any, milliseconds: int) -> list[Any]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
        result = landmarker.detect_for_video(image, milliseconds)
        return [
            [sides[0].category_name, sides[0].score, [(point.x, point.y) for point in points]]
            for sides, points in zip(result.handedness, result.hand_landmarks)  # noqa: B905  # any Python that has mediapipe
        ]

    return detect


def by_solutions(mediapipe: Any, hands: int) -> Detect:
    """Return what finds hands by the models in the wheel."""
    if not hasattr(mediapipe, "solutions"):
        sys.exit(f"mediapipe {mediapipe.__version__} carries no models; 0.10.21 does, or name a .task file")
    solution = mediapipe.solutions.hands.Hands(static_image_mode=False, max_num_hands=hands, model_complexity=1)

    def detect(picture: Any, _: int) -> list[Any]:
        result = solution.process(picture)
        sides, hands = result.multi_handedness or [], result.multi_hand_landmarks or []
        return [
            [
                side.classification[0].label,
                side.classification[0].score,
                [(point.x, point.y) for point in points.landmark],
            ]
            for side, points in zip(sides, hands)  # noqa: B905
        ]

    return detect


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
