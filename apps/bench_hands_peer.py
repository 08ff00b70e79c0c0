"""MediaPipe's hand landmark network: run by the interpreter of an environment that has mediapipe 0.10.21, and has no posekit.

``python bench_hands_peer.py FOLDER WORK``: speaks as bench_peer.py does. The model is the one in mediapipe's wheel. mediapipe
offers no way to run that network without what comes before and after it, so a TFLite interpreter of the same environment does.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: Where a TFLite interpreter may be: the package's present name, its former one, and within TensorFlow.
INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")


def serve(folder: Path) -> None:
    """Answer until stdin ends."""
    # Whatever the libraries print must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    try:
        version = metadata.version("mediapipe")
        import numpy as np

        run = landmarks(folder)
    except (ImportError, metadata.PackageNotFoundError) as error:
        sys.exit(
            f"has no mediapipe that can be used ({error}); it needs: pip install mediapipe==0.10.21 ai-edge-litert"
        )
    found: dict[str, Any] = {}
    answer(f"ready MediaPipe {version}")
    for line in sys.stdin:
        if line.strip() == "run":
            start = time.perf_counter()
            found = run()
            answer(f"run {time.perf_counter() - start!r}")
        elif line.strip() == "save":
            np.savez(folder / "output.npz", **found)
            answer("save done")


def make_interpreter(model: Path, threads: int) -> Any:
    """Return the network, ready for one picture; XNNPACK, which mediapipe uses, too, is every interpreter's default."""
    for name in INTERPRETERS:
        try:
            return importlib.import_module(name).Interpreter(model_path=str(model), num_threads=threads)
        except ImportError:
            continue
    raise ImportError("no TFLite interpreter")


def landmarks(folder: Path) -> Callable[[], dict[str, Any]]:
    """Return what is timed: from uint8 crops to landmarks and presence. It has run once.

    It returns the landmarks (N, 21, 2) px, the probability (N,) that there is a hand, and the seconds of the network alone.
    """
    import numpy as np

    work = json.loads((folder / "input.json").read_text(encoding="utf-8"))
    crops = np.load(folder / "crops.npy", allow_pickle=False)
    spec = find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise ImportError("No module named 'mediapipe'")
    model = Path(spec.origin).parent / "modules" / "hand_landmark" / f"hand_landmark_{work['model']}.tflite"
    if not model.is_file():
        raise ImportError(f"no {model.name} in it")
    network = make_interpreter(model, work["threads"])
    batch = work["batch"]
    place = network.get_input_details()[0]["index"]
    network.resize_tensor_input(place, [batch, *crops.shape[1:]])
    network.allocate_tensors()
    # In the order of the outputs: landmarks in px and depths, presence, right-handedness, landmarks in metres.
    outputs = [output["index"] for output in network.get_output_details()]

    def run() -> dict[str, Any]:
        points, presence, seconds = [], [], 0.0
        for first in range(0, len(crops), batch):
            images = crops[first : first + batch].astype(np.float32) / np.float32(255)
            start = time.perf_counter()
            network.set_tensor(place, images)
            network.invoke()
            points.append(network.get_tensor(outputs[0]).reshape(batch, 21, 3)[..., :2])
            presence.append(network.get_tensor(outputs[1])[:, 0])
            seconds += time.perf_counter() - start
        return {"xy": np.concatenate(points), "presence": np.concatenate(presence), "network_seconds": seconds}

    run()
    return run


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
