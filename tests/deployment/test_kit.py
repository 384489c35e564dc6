"""Folders of old jobs in a kit, in which a process of FLARE may still be at work."""

from __future__ import annotations

import os

from clap_vad.deployment import kit


def test_old_jobs_are_removed_and_one_that_vanishes_meanwhile_is_borne(tmp_path, monkeypatch):
    folders = [tmp_path / part / "1-2-3-4-5" for part in (".", "jobs")]
    for folder in folders:
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    (tmp_path / "jobs" / "6-7-8-9-0").mkdir()
    now, vanishing = kit.time.time(), folders[:1]

    def time_goes_by() -> float:
        while vanishing:
            vanishing.pop().rmdir()
        return now

    with monkeypatch.context() as patched:
        patched.setattr(kit.time, "time", time_goes_by)
        kit._forget_jobs(tmp_path)
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["6-7-8-9-0"]
    assert not folders[0].exists()
