import json

import pytest

from posekit.apps.main import main
from posekit.errors import PosekitError


def test_rates_and_sheet_are_written(tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    sheet, figures = tmp_path / "sheet.png", tmp_path / "figures.json"
    main(["bench", "synthetic-hands", "--hands", "16", "--size", "32", "--oversample", "1", "--processes", "1", "--labels",
          "--magnify", "2", "--png", str(sheet), "--json", str(figures)])  # fmt: skip
    assert cv2.imread(str(sheet)).shape == (8 * 64, 8 * 64, 3)
    found = json.loads(figures.read_text())
    assert found["size_px"] == 32
    assert 0.2 < found["visible_share"] < 0.9
    assert [rate["processes"] for rate in found["rates"]] == [1]
    assert found["rates"][0]["drawn_per_second"] > 0
    assert found["one_thread"]["finishing_per_processor_second"] > 0
    assert "by the clock" in capsys.readouterr().out


def test_impossible_wishes_are_one_line():
    from posekit.apps.bench_synthetic_hands import SyntheticHandsBench, run

    for wish, message in (
        ({"hands": 3}, "--hands: 3"),
        ({"processes": ()}, "--processes"),
        ({"oversample": 9.0}, "--oversample"),
    ):
        with pytest.raises(PosekitError, match=message):
            run(SyntheticHandsBench(**wish))
