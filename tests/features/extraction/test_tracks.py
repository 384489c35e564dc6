"""Track features against slow loops; both formats; labels that must not be read; broken lines."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clap_vad.errors import ClapError
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.features.extractors import tracks as tracks_module
from clap_vad.features.measures.persons import PERSON_FEATURES, SPANS, TrackSlots
from clap_vad.features.measures.track_files import read_tracks
from clap_vad.features.measures.tracks import QUANTITIES, SEGMENT_FEATURES, grouped_statistics
from clap_vad.features.segments import SegmentFeatures

SHANGHAITECH = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "shanghaitech_tracks"
HEADER = "Frame_Number Person_ID State BB_tl_0 BB_tl_1 BB_br_0 BB_br_1 abnormal_ped abnormal_gt"


def extract(path, **settings):
    extraction = make_extractor("tracks", settings).extract(path)
    blocks = list(extraction)
    whole = SegmentFeatures.joined(blocks)
    return whole.features, whole.valid, extraction.ending


def random_rows(seed: int = 0, persons: int = 6, frames: int = 70) -> list[tuple[int, ...]]:
    """(frame, person, x1, y1, x2, y2) with persons that come, go and are lost for some frames; frames 33..49 empty."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(1, persons + 1):
        begin = int(rng.integers(0, frames // 2))
        x, y = rng.uniform(50, 700), rng.uniform(50, 300)
        for frame in range(begin, frames):
            x, y = x + rng.normal(2, 3), y + rng.normal(0, 2)
            if rng.random() < 0.85 and not 33 <= frame < 50:
                height = int(rng.integers(60, 90))
                rows.append((frame, person, int(x), int(y), int(x) + height // 3, int(y) + height))
    return rows


def write_shanghaitech(path: Path, rows, labels=lambda row: "0 0") -> Path:
    lines = [f"{f} {p} 2 {x1} {y1} {x2} {y2} {labels((f, p))}" for f, p, x1, y1, x2, y2 in rows]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def slow_quantities(rows, lag=5, fps=24.0, size=(856, 480)):
    """The eight quantities of every row by looking through all rows; None where not known."""
    table = {}
    for f, p, *_ in sorted(rows):
        table[f, p] = None
    boxes = {(f, p): box for f, p, *box in rows}

    def centre(key):
        x1, y1, x2, y2 = boxes[key]
        return np.array([(x1 + x2) / 2, (y1 + y2) / 2])

    def before(key):
        earlier = [f for f, p in boxes if p == key[1] and key[0] - lag <= f < key[0]]
        return (min(earlier), key[1]) if earlier else None

    def velocity(key):
        other = before(key)
        return None if other is None else (centre(key) - centre(other)) / (key[0] - other[0]) * fps

    for key in table:
        x1, y1, x2, y2 = boxes[key]
        h, w, v = y2 - y1, x2 - x1, velocity(key)
        v_before = velocity(before(key)) if v is not None else None
        acceleration = None
        if v_before is not None:
            acceleration = np.linalg.norm(v - v_before) / (key[0] - before(key)[0]) * fps / h
        motion = [None] * 3 if v is None else [np.linalg.norm(v) / h, abs(v[0]) / h, v[1] / h]
        table[key] = [*motion, np.log(w / h), np.log(h / size[1]), acceleration, *(centre(key) / size)]
    return table


def test_the_forms_have_the_promised_sizes():
    assert len(QUANTITIES) == 8
    assert len(SEGMENT_FEATURES) == len(set(SEGMENT_FEATURES)) == 34
    assert len(PERSON_FEATURES) == len(set(PERSON_FEATURES)) == 10


def test_segment_form_equals_a_slow_obvious_loop(tmp_path):
    rows = random_rows()
    features, valid, ending = extract(write_shanghaitech(tmp_path / "a.txt", rows), form="segment")
    table = slow_quantities(rows)
    frames = max(f for f, *_ in rows) + 1
    assert valid is None
    assert (ending.frames, ending.fps, features.shape) == (frames, 24, (-(-frames // 16), 1, 34))
    for t, row in enumerate(features[:, 0]):
        members = [key for key in table if key[0] // 16 == t]
        expected = []
        for q in range(8):
            known = [table[key][q] for key in members if table[key][q] is not None]
            expected += [np.mean(known), max(known), np.percentile(known, 90), np.std(known)] if known else [0] * 4
        own_frames = range(16 * t, min(16 * t + 16, frames))
        counts = [sum(key[0] == f for key in members) for f in own_frames]
        np.testing.assert_allclose(row, [*expected, np.mean(counts), max(counts)], rtol=1e-4, atol=1e-5)


def slow_person(rows, key, fps=24.0, size=(856, 480)):
    """The ten numbers of one box by looking through all rows; None where not known."""
    boxes = {(f, p): np.array(box, float) for f, p, *box in rows}

    def centre(k):
        return (boxes[k][:2] + boxes[k][2:]) / 2

    x1, y1, x2, y2 = boxes[key]
    earlier = [f for f, p in boxes if p == key[1] and key[0] - round(SPANS[-1] * fps) <= f < key[0]]
    velocities = []
    for span in SPANS:
        within = [f for f in earlier if f >= key[0] - round(span * fps)]
        first = min(within) if within else max(earlier, default=None)  # else the box just before
        step = None if first is None else (centre(key) - centre((first, key[1]))) / (key[0] - first) * fps / (y2 - y1)
        velocities.append(step)
    speeds = [None if v is None else np.linalg.norm(v) for v in velocities]
    across, down = (None, None) if velocities[1] is None else (abs(velocities[1][0]), velocities[1][1])
    shape = [np.log((x2 - x1) / (y2 - y1)), np.log((y2 - y1) / size[1])]
    return [*speeds, across, down, *shape, *(centre(key) / size)]


def test_person_form_equals_a_slow_obvious_loop(tmp_path):
    rows = random_rows(seed=1, persons=7)
    features, valid, ending = extract(write_shanghaitech(tmp_path / "a.txt", rows), form="person", persons=4)
    table = {(f, p): slow_person(rows, (f, p)) for f, p, *_ in rows}
    left_out, slots = 0, TrackSlots(4)
    for t in range(len(features)):
        members = [key for key in table if key[0] // 16 == t and table[key][0] is not None]
        length = {p: sum(key[1] == p for key in members) for p in {key[1] for key in members}}
        kept = sorted(sorted(length, key=lambda p: (-length[p], p))[:4])
        left_out += len(length) - len(kept)
        places = slots.take(kept)
        assert sorted(np.flatnonzero(valid[t])) == sorted(places)
        for place, p in zip(places, kept, strict=True):
            expected = np.mean([table[key] for key in members if key[1] == p], axis=0)
            np.testing.assert_allclose(features[t, place], expected, rtol=1e-4, atol=1e-5)
        assert not features[t, ~valid[t]].any()
    assert left_out > 0
    assert ending.notes == (f"{left_out} persons beyond 4 in a segment were left out",)


def test_a_place_with_short_gaps_is_one_person_where_there_is_room():
    rng = np.random.default_rng(3)
    slots, history = TrackSlots(9), []
    for _ in range(400):
        persons = sorted(rng.choice(7, rng.integers(0, 4), replace=False).tolist())
        places = slots.take(persons)
        assert len(set(places)) == len(persons)
        history.append(dict(zip(places, persons, strict=True)))
        recent = history[-5:-1]  # absent for at most 3 segments
        for place, person in history[-1].items():
            assert {before[place] for before in recent if place in before} <= {person}
            assert all(place == old for before in recent for old, who in before.items() if who == person)


def test_without_room_the_place_that_was_left_longest_ago_is_taken():
    slots = TrackSlots(2)
    assert [slots.take(persons) for persons in ([1, 2], [2], [2, 3], [1, 3])] == [[0, 1], [1], [1, 0], [1, 0]]


def test_speeds_know_a_walk_a_jerk_and_a_coarse_stream(tmp_path):
    # 10 pixels a frame to the right, height 100: 2.4 heights a second over every span
    walk = [(f, 1, 10 * f, 0, 10 * f + 30, 100) for f in range(64)]
    features, _, _ = extract(write_shanghaitech(tmp_path / "a.txt", walk), form="person")
    np.testing.assert_allclose(features[3, 0, :6], [2.4, 2.4, 2.4, 2.4, 2.4, 0], rtol=1e-5)
    still = [(f, 1, 100 * (f >= 62), 0, 100 * (f >= 62) + 30, 100) for f in range(64)]
    speeds = extract(write_shanghaitech(tmp_path / "b.txt", still), form="person")[0][3, 0, :4]
    assert (np.diff(speeds) < 0).all()
    # one box in half a second: longer than the shortest span, so the box just before serves
    sparse = extract(write_shanghaitech(tmp_path / "c.txt", walk[::12]), form="person")[0]
    np.testing.assert_allclose(sparse[3, 0, :4], 2.4, rtol=1e-5)


def test_label_columns_are_never_read(tmp_path):
    rows, rng = random_rows(), np.random.default_rng(9)
    plain = write_shanghaitech(tmp_path / "plain.txt", rows)
    scrambled = write_shanghaitech(
        tmp_path / "scrambled.txt", rows, labels=lambda row: rng.choice(["1 1", "0 1", "nonsense", "", "nan 7 8"])
    )
    for form in ("segment", "person"):
        ours, theirs = extract(plain, form=form), extract(scrambled, form=form)
        assert ours[0].tobytes() == theirs[0].tobytes()
        assert ours[2] == theirs[2]


def test_order_of_rows_and_bounds_of_blocks_do_not_matter(tmp_path, monkeypatch):
    rows = random_rows()
    shuffled = [rows[k] for k in np.random.default_rng(2).permutation(len(rows))]
    for form in ("segment", "person"):
        expected = extract(write_shanghaitech(tmp_path / "a.txt", rows), form=form)[0]
        assert extract(write_shanghaitech(tmp_path / "b.txt", shuffled), form=form)[0].tobytes() == expected.tobytes()
        with monkeypatch.context() as patch:
            patch.setattr(tracks_module, "_BLOCK_SEGMENTS", 1)
            assert extract(tmp_path / "a.txt", form=form)[0].tobytes() == expected.tobytes()


def test_motchallenge_gives_the_same_features(tmp_path):
    rows = random_rows()
    ours = extract(write_shanghaitech(tmp_path / "a.txt", rows), form="segment")
    lines = [f"{f + 1},{p},{x1},{y1},{x2 - x1},{y2 - y1},1,-1,-1,-1" for f, p, x1, y1, x2, y2 in rows]
    mot = tmp_path / "a.csv"
    mot.write_text("\n".join(lines))
    theirs = extract(mot, form="segment", fps=24.0, width=856, height=480)
    assert ours[0].tobytes() == theirs[0].tobytes()
    assert ours[2] == theirs[2]
    assert (read_tracks(mot).fps, read_tracks(mot).size) == (25, (1920, 1080))


def test_motchallenge_sequence_folder(tmp_path):
    sequence = tmp_path / "MOT17-02"
    (sequence / "gt").mkdir(parents=True)
    (sequence / "det").mkdir()
    truth, detections = sequence / "gt" / "gt.txt", sequence / "det" / "det.txt"
    truth.write_text("1,1,10,20,30,60,1,1,1\n")
    detections.write_text("1,-1,10,20,30,60,0.9\n")
    (sequence / "seqinfo.ini").write_text("[Sequence]\nname=MOT17-02\nframeRate=30\nimWidth=960\nimHeight=540\n")
    tracks = read_tracks(truth)
    assert (tracks.fps, tracks.size, tracks.frames) == (30, (960, 540), 1)
    extractor = make_extractor("tracks", {})
    assert extractor.video_name(truth) == "MOT17-02"
    assert extractor.accepts(truth)
    assert not extractor.accepts(detections)
    with pytest.raises(ClapError, match=r"det\.txt: line 1: id is negative"):
        read_tracks(detections)


def _sequence(folder, info, last=1090):
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text(f"40,1,10,20,30,60,1,1,1\n{last},1,12,20,30,60,1,1,1\n")
    (folder / "seqinfo.ini").write_bytes(info if isinstance(info, bytes) else info.encode())
    return folder / "gt" / "gt.txt"


@pytest.mark.parametrize("form", ["person", "segment"])
def test_the_stated_length_of_a_sequence_counts(tmp_path, form):
    for name, info, frames in (
        ("stated", "[Sequence]\nseqLength=1139\n", 1139),
        ("equal", "[Sequence]\nseqLength=1090\n", 1090),
        ("not stated", "[Sequence]\nframeRate=30\n", 1090),
    ):
        features, _, ending = extract(_sequence(tmp_path / name, info), form=form)
        assert (ending.frames, len(features)) == (frames, -(-frames // 16))


@pytest.mark.parametrize(
    "info",
    [
        "\ufeff[Sequence]\r\nname=x\r\nframeRate=30\r\nseqLength=1139\r\nimWidth=960\r\nimHeight=540\r\n",
        "[sequence]\nFRAMERATE = 30\nSeqLength: 1139\nimwidth=960\nIMHEIGHT=540\n",
        '[Sequence]\nframeRate=30.0\nseqLength=1139.0 ; frames\nimWidth="960"\nimHeight=540 # pixels\n',
        "[Sequence]\rframeRate=30\rseqLength=1139\rimWidth=960\rimHeight=540\r",
        "[Sequence]\nframeRate=30,0\nseqLength=1139\nimWidth=960\nimHeight=540\n".encode("utf-16"),
    ],
)
def test_sequence_info_as_editors_write_it(tmp_path, info):
    tracks = read_tracks(_sequence(tmp_path / "s", info))
    assert (tracks.fps, tracks.size, tracks.frames) == (30, (960, 540), 1139)


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ("[Sequence]\nseqLength=many\n", "seqLength is 'many', not a number; correct or remove it"),
        ("[Sequence]\nseqLength=0\n", "seqLength is 0; give an integer of at least 1"),
        ("[Sequence]\nseqLength=-5\n", "seqLength is -5"),
        ("[Sequence]\nseqLength=10.5\n", r"seqLength is 10\.5"),
        ("[Sequence]\nseqLength=1e12\n", "seqLength is"),
        ("[Sequence]\nseqLength=nan\n", "not a number"),
        ("[Sequence]\nframeRate=fast\n", "frameRate is 'fast', not a number"),
        ("[Sequence]\nimWidth=0\n", "are impossible"),
        (
            "[Sequence]\nseqLength=1089\n",
            r"gt\.txt: the last box is in frame 1090 but seqinfo\.ini has seqLength 1089",
        ),
        ("[Other]\nseqLength=5\n", r"no section \[Sequence\]"),
        ("seqLength=5\n", r"seqinfo\.ini: not a readable"),
        (b"[Sequence]\nname=\xe9\n", "line 2: not a UTF-8"),
    ],
)
def test_broken_sequence_info_is_named(tmp_path, info, says):
    with pytest.raises(ClapError, match=says):
        read_tracks(_sequence(tmp_path / "s", info))


def test_boxes_as_a_spreadsheet_writes_them(tmp_path):
    (tmp_path / "a.csv").write_text("frame;id;x;y;w;h\n1;7;10,5;20;30;60\n2;7;11.5;20;30;60\n")
    tracks = read_tracks(tmp_path / "a.csv")
    assert tracks.box.tolist() == [[10.5, 20, 40.5, 80], [11.5, 20, 41.5, 80]]


def test_velocity_is_not_taken_over_a_long_gap(tmp_path):
    rows = [(0, 1, 0, 0, 20, 40), (9, 1, 400, 0, 420, 40)]
    features, _, ending = extract(write_shanghaitech(tmp_path / "a.txt", rows), form="segment")
    speed = dict(zip(SEGMENT_FEATURES, features[0, 0], strict=True))["speed maximum"]
    assert speed == 0
    assert ending.frames == 10
    far = extract(write_shanghaitech(tmp_path / "a.txt", rows), form="segment", lag=10)[0]
    assert far[0, 0, 1] == pytest.approx(400 / 9 * 24 / 40)


def test_a_segment_without_boxes_is_zero_or_has_no_valid_person(tmp_path):
    path = write_shanghaitech(tmp_path / "a.txt", [(40, 3, 0, 0, 10, 30), (41, 3, 0, 0, 10, 30)])
    features, _, _ = extract(path, form="segment")
    assert not features[:2].any()
    assert features[2].any()
    features, valid, _ = extract(path)
    assert valid.sum(1).tolist() == [0, 0, 1]
    assert not features[:2].any()


def test_grouped_statistics_of_random_groups():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 40, 300)
    values = np.where(rng.random(300) < 0.2, np.nan, rng.normal(size=300).round(1))
    got = grouped_statistics(values, group, 41)
    for g in range(41):
        own = values[(group == g) & ~np.isnan(values)]
        expected = [own.mean(), own.max(), np.percentile(own, 90), own.std()] if len(own) else [0] * 4
        np.testing.assert_allclose(got[g], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "", "contains no tracked box"),
        ("a.txt", HEADER + "\n", "contains no tracked box"),
        ("a.txt", HEADER + "\n0 1 2 10 10 20 40 0\n1 1 2 10 10 20\n", "line 3: 6 columns"),
        ("a.txt", HEADER + "\n0 1 2 10 ten 20 40 0\n", "line 2: column 5 is not a number"),
        ("a.txt", HEADER + "\n\n0 1 2 10 10 20 40\n1 1 2 10 10 20 nan\n", "line 4: a value is not finite"),
        ("a.txt", "0.5 1 2 10 10 20 40\n", "line 1: frame or id is not a whole number"),
        ("a.txt", "0 1 2 10 10 20 40\n-1 1 2 10 10 20 40\n", "line 2: frame negative"),
        ("a.txt", "99999999999 1 2 10 10 20 40\n", "line 1: frame negative or beyond"),
        ("a.txt", "0 1 2 30 10 20 40\n", "line 1: the box ends before it starts"),
        ("a.csv", "0,1,10,10,20,40,1\n", "line 1: frame below 1"),
        ("a.csv", "1,1,10,10,-20,40,1\n", "line 1: the box ends before it starts"),
        ("a.csv", "frame,id,x,y,w,h\n1,1,10,10\n", "line 2: 4 columns"),
        ("a.txt", b"\xff\xfe\x00\x01\x80", "not a text file"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ClapError, match=reason) as caught:
        extract(path)
    assert str(caught.value).startswith(str(path))


def test_a_box_of_no_height_and_a_row_that_stands_twice_do_no_harm(tmp_path):
    rows = [(0, 1, 5, 5, 5, 5), (1, 1, 5, 5, 25, 45), (1, 1, 5, 5, 25, 45), (2, 1, 6, 5, 26, 45)]
    for form in ("segment", "person"):
        assert np.isfinite(extract(write_shanghaitech(tmp_path / "a.txt", rows), form=form)[0]).all()


def test_lists_and_other_files_in_a_folder_are_passed_over(tmp_path):
    names = {"tracks.txt": HEADER, "weak_test.txt": "01_001\n01_002\n", "a.mp4": "x y", "empty.txt": ""}
    for name, content in names.items():
        (tmp_path / name).write_text(content)
    extractor = make_extractor("tracks", {})
    assert [name for name in names if extractor.accepts(tmp_path / name)] == ["tracks.txt", "empty.txt"]


def test_largest_speed_alone_separates_some_real_anomalies():
    """The figure of a first look at this data: frame AUC 0.73 for the largest speed, nothing learned."""
    if not SHANGHAITECH.is_dir():
        pytest.skip(f"{SHANGHAITECH} is not there: the ShanghaiTech tracks are not part of the project")
    labels = np.load(SHANGHAITECH / "frame_labels.npz")
    truth, scores = [], []
    for video in (SHANGHAITECH / "weak_test.txt").read_text().split():
        [path] = SHANGHAITECH.glob(f"t*/{video}.txt")
        features, _, ending = extract(path, form="segment")
        expected = labels[video] if video in labels.files else np.zeros(ending.frames, np.uint8)
        per_frame = np.repeat(features[:, 0, SEGMENT_FEATURES.index("speed maximum")], 16)
        truth.append(expected)
        scores.append(np.pad(per_frame, (0, max(0, len(expected) - len(per_frame))), "edge")[: len(expected)])
    assert roc_auc_score(np.concatenate(truth), np.concatenate(scores)) == pytest.approx(0.73, abs=0.01)


def test_scrambled_labels_of_a_real_file(tmp_path):
    if not SHANGHAITECH.is_dir():
        pytest.skip(f"{SHANGHAITECH} is not there: the ShanghaiTech tracks are not part of the project")
    path = sorted((SHANGHAITECH / "test").glob("*.txt"))[0]
    header, *lines = path.read_text().splitlines()
    copy = Path(shutil.copy(path, tmp_path / path.name))
    copy.chmod(0o644)
    copy.write_text("\n".join([header, *(" ".join([*line.split()[:7], "1", "0"]) for line in lines)]))
    assert extract(copy)[0].tobytes() == extract(path)[0].tobytes()
