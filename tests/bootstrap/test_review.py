"""The review: its page against the files of a run, its keys in a JavaScript engine, and the decisions' way back."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from bootstrap_run_folder import DOUBTFUL, FRAMES, LABELLED, NAMES, write_run
from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.pages.review_page import write_review_page
from posekit.bootstrap.review import (
    Decisions,
    ReviewedFrame,
    decisions_of,
    keep_decisions,
    learnt_what_is_rejected,
    read_decisions,
    rejected_frames,
)
from posekit.bootstrap.steps import frames_rejected_in
from posekit.errors import PosekitError

ITEMS = {(frame, 0, part) for frame, part in LABELLED}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("review"))


@pytest.fixture(scope="module")
def page(made):
    return write_review_page(made.folder, made.capture, made.rig).read_text(encoding="utf-8")


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="review-data">(.*?)</script>', page).group(1))


class Tags(HTMLParser):
    """Every tag that is opened, and that each is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags_of(page: str) -> list[tuple[str, dict]]:
    parser = Tags()
    parser.feed(page)
    assert not parser.open
    return parser.found


def test_the_page_has_every_labelled_frame_the_most_doubtful_first(page):
    items = [(item["frame"], item["person"], item["part"]) for item in data_of(page)["items"]]
    assert items[0] == DOUBTFUL
    assert set(items) == ITEMS
    assert len(items) == len(ITEMS)
    doubts = [float(value) for value in re.findall(r"doubt ([0-9.]+)", page)]
    assert doubts == sorted(doubts, reverse=True)
    assert len(doubts) == len(ITEMS)


def test_every_frame_is_shown_in_every_camera_as_a_picture_with_label_and_detection(page):
    tags = tags_of(page)
    pictures = [attributes["href"] for tag, attributes in tags if tag == "image"]
    assert len(pictures) == len(ITEMS) * len(NAMES)
    for picture in pictures:
        kind, _, content = picture.partition(",")
        assert kind == "data:image/jpeg;base64"
        image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (160, 160, 3)
        assert image.std() > 5  # what was filmed, not an empty picture
    groups = [attributes.get("class") for tag, attributes in tags if tag == "g"]
    assert groups.count("drawn-label") == groups.count("drawn-detection") == len(pictures)
    assert page.count("<br>21 joints, not detected<") == 1  # camera <b> has nothing in frame 1
    assert "21 joints, 21 moved" in page  # and camera top has the hand elsewhere in frame 3


def test_the_page_fetches_nothing_and_names_stay_names(page):
    for _, attributes in tags_of(page):
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "default-src 'none'" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_labels_are_drawn_where_the_points_are(made, page):
    # The picture is a square of 2.2 B around the label: its middle is the middle of the joints' box.
    first = page.split('<g class="drawn-label">')[1].split("</g>")[0]
    dots = {(float(x), float(y)) for x, y in re.findall(r"M([0-9.-]+) ([0-9.-]+)h0", first)}
    places = np.array(sorted(dots))
    assert len(places) == 21
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    assert np.allclose(middle, 80, atol=0.11)  # dots are written to a tenth of a pixel
    assert np.ptp(places, axis=0).max() <= 160 / 2.2 + 0.2


def write(path, content) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def entry(frame=1, person=0, part="right_hand"):
    return {"frame": frame, "person": person, "part": part}


def test_decisions_go_round(made, tmp_path):
    assert rejected_frames(tmp_path) == frozenset()
    saved = {"schema": "posekit.review/1", "rejected": [entry(3)], "accepted": [entry(1), entry(4, part="left_hand")]}
    write(tmp_path / "saved.json", saved)
    folder = tmp_path / "run"
    shutil.copytree(made.folder, folder)
    keep_decisions(tmp_path / "saved.json", folder)
    assert rejected_frames(folder) == {(3, 0, "right_hand")}
    decisions = decisions_of(folder)
    assert decisions == Decisions(
        frozenset({ReviewedFrame(3, 0, "right_hand")}),
        frozenset({ReviewedFrame(1, 0, "right_hand"), ReviewedFrame(4, 0, "left_hand")}),
    )
    assert decisions.as_json() == saved
    keep_decisions(folder / "review.json", folder)  # of itself nothing is lost
    assert decisions_of(folder) == decisions
    # A page that is written later knows them.
    data = data_of(write_review_page(folder, made.capture, made.rig).read_text())
    assert data["rejected"] == saved["rejected"]
    assert data["accepted"] == saved["accepted"]


def of(rejected, accepted=()):
    return {"schema": "posekit.review/1", "rejected": rejected, "accepted": list(accepted)}


BAD = {
    "no JSON": ("{", ["is no JSON"]),
    "another file": ({"schema": "posekit.crops/1"}, ["posekit.crops/1", "posekit.review/1"]),
    "a list": ([1, 2], ["[1, 2]", "posekit.review/1"]),
    "no list": (of({"frame": 1}), ["rejected", "a list was expected"]),
    "no entry": (of([7]), ["rejected[0]", "7"]),
    "a frame in words": (of([entry(), entry("two")]), ["rejected[1]", "frame is 'two'"]),
    "no person": (of([], [{"frame": 1, "part": "left_hand"}]), ["accepted[0]", "person is None"]),
    "a truth for a number": (of([entry(True)]), ["frame is True"]),
    "a negative frame": (of([entry(-1)]), ["frame is -1"]),
    "no part": (of([{"frame": 1, "person": 0}]), ["part is None", "left_hand"]),
    "both": (of([entry()], [entry()]), ["frame 1", "both rejected and accepted"]),
    "a frame of another run": (of([entry(900)]), ["frame 900", f"0 to {FRAMES - 1}"]),
    "a part of another run": (of([entry(1, part="subject")]), ["'subject'", "left_hand, right_hand"]),
    "a person of another run": (of([entry(1, person=2)]), ["person 2", "1 person"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_decisions_are_told_in_one_line_and_not_kept(made, tmp_path, case):
    content, words = BAD[case]
    write(tmp_path / "decided.json", content)
    with pytest.raises(PosekitError) as caught:
        keep_decisions(tmp_path / "decided.json", made.folder)
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "decided.json"))
    assert "\n" not in line
    for word in words:
        assert word in line
    assert not (made.folder / "review.json").exists()


def test_decisions_on_frames_that_a_new_run_will_not_have_are_told_before_it_begins(tmp_path):
    write(tmp_path / "decided.json", of([entry(4)], [entry(6)]))
    assert read_decisions(tmp_path / "decided.json", frames=np.array([2, 4, 6])).rejected
    with pytest.raises(PosekitError, match=r"decided.json: frame 4, person 0, 'right_hand'.* 5 to 9"):
        read_decisions(tmp_path / "decided.json", frames=np.arange(5, 10))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(PosekitError, match="no such file"):
        read_decisions(tmp_path / "review.json")


def test_a_run_without_a_finished_round_has_nothing_to_review(made, tmp_path):
    shutil.copytree(made.folder / "round_0", tmp_path / "round_0")
    with pytest.raises(PosekitError, match="no finished round with labels"):
        write_review_page(tmp_path, made.capture, made.rig)


#: As much of a browser as the page needs: elements with classes and listeners, and what is saved.
BROWSER = """
const listeners = {}, saved = [];
const element = () => ({ style: { setProperty() {} }, hidden: false, textContent: "", value: "", on: {},
  classes: new Set(), addEventListener(what, act) { this.on[what] = act; }, blur() {}, focus() {}, select() {},
  click() { saved.push(this.download); },
  get classList() { const own = this.classes;
    return { toggle: (name, force) => (force ?? !own.has(name)) ? own.add(name) : own.delete(name) }; },
  querySelector() { return this.state ??= element(); } });
const elements = {}, sections = DATA.items.map(element);
globalThis.document = { body: element(), createElement: element,
  getElementById: id => elements[id] ??= { ...element(), textContent: id === "review-data" ? JSON.stringify(DATA) : "" },
  querySelectorAll: what => what === ".item" ? sections : [],
  addEventListener: (what, act) => { listeners[what] = act; } };
globalThis.addEventListener = () => {};
globalThis.localStorage = { getItem: () => null, setItem() {} };
globalThis.URL = { createObjectURL: () => "blob:", revokeObjectURL() {} };
globalThis.setTimeout = () => {};
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's JavaScript")
def test_keys_decide_go_on_undo_and_save_what_is_read_back(made, page, tmp_path):
    data = data_of(page)
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    keys = ["r", "a", "U", "ArrowRight", "x", "ArrowLeft", " ", "s"]
    drive = f"""
const DATA = {json.dumps(data)};
{BROWSER}
{script}
const shown = [sections.findIndex(section => !section.hidden)];
for (const key of {json.dumps(keys)}) {{
  listeners.keydown({{ key, preventDefault() {{}} }});
  shown.push(sections.findIndex(section => !section.hidden));
}}
listeners.keydown({{ key: "r", ctrlKey: true, preventDefault() {{ throw new Error("the browser's own key"); }} }});
console.log(JSON.stringify({{ shown, saved, text: elements.text.value, count: elements.count.textContent }}));
"""
    (tmp_path / "drive.js").write_text(drive)
    done = subprocess.run(["node", tmp_path / "drive.js"], capture_output=True, text=True, check=True, timeout=60)
    result = json.loads(done.stdout)
    # reject 0, accept 1, undo (back to 1), on to 2, reject 2 (the last, it stays), back to 1, accept 1, save
    assert result["shown"] == [0, 1, 2, 1, 2, 2, 1, 2, 2]
    assert result["saved"] == ["review.json"]
    assert result["count"] == "3 of 3: 2 rejected, 1 accepted, 0 left"
    (tmp_path / "review.json").write_text(result["text"])
    decided = read_decisions(tmp_path / "review.json", made.folder)
    items = [ReviewedFrame(**item) for item in data["items"]]
    assert decided == Decisions(frozenset({items[0], items[2]}), frozenset({items[1]}))


def test_a_round_leaves_out_what_the_file_in_its_run_folder_rejects(tmp_path):
    write(tmp_path / "review.json", of([entry(3), entry(5, person=1, part="left_hand")], [entry(2)]))
    run = SimpleNamespace(folder=tmp_path, target=HandTarget())
    left_out = frames_rejected_in(run, np.array([2, 3, 5]), 4)
    # Instances: left and right hand of person 0, then those of person 1.
    assert np.argwhere(left_out).tolist() == [[1, 1], [2, 2]]


def test_a_round_that_learnt_from_what_is_rejected_by_now_is_told(tmp_path):
    rows = [{"frame": 7, "chosen": True}, {"frame": 8, "chosen": False}]
    (tmp_path / "round_1").mkdir()
    selection = {"instances": [{"person": 0, "part": "left_hand", "frames": rows}]}
    (tmp_path / "round_1" / "selection.json").write_text(json.dumps(selection))
    assert not learnt_what_is_rejected(tmp_path, 1)
    for frame, told in ((8, False), (7, True)):
        rejected = [{"frame": frame, "person": 0, "part": "left_hand"}]
        (tmp_path / "review.json").write_text(json.dumps({"schema": "posekit.review/1", "rejected": rejected}))
        assert learnt_what_is_rejected(tmp_path, 1) == told
