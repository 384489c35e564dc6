from __future__ import annotations

from functools import partial
from html.parser import HTMLParser

import numpy as np

from clap_vad.reporting.page import Picture, Plot, Plots, Stat, Stats, Table, Text, Video, render_page, write_page
from clap_vad.reporting.plots import roc_curves, score_curve

EVIL = '"><script>alert(1)</script><img src=http://evil.example/x>'


class Reader(HTMLParser):
    """Collects the tags, what they refer to, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "xlink:href", "poster", "data"):
                self.references.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def whole_page(name: str) -> str:
    curve = partial(score_curve, np.array([0.1, 0.9]), frames=32, fps=25.0, threshold=0.5, events=[(0, 16)])
    line = (np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.8, 1.0]))
    events = Table("Events", ("Event", "Start"), (("1", name),), note=name)
    sections = [
        Stats("", (Stat(name, name, name),)),
        Text(name, (name, name)),
        Table(name, (name, "b"), ((name, "1"), ("x", "2")), strong=0),
        Table(name, (name, "b"), ((name, "1"),), prose=True, folded=True),
        Plots(name, (Plot(partial(roc_curves, {name: line}), name, name), Plot(curve, name)), name, small=True),
        Video(name, name, Plot(curve, name), events, (Picture(b"\xff\xd8", name, name),), name),
    ]
    return render_page(name, name, sections, name)


def test_the_page_refers_to_nothing_outside_itself():
    html = whole_page("gate 3")
    page = Reader(html)
    assert not page.open
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert any(reference.startswith("data:image/jpeg;base64,") for reference in page.references)
    for word in ("://", "@import", "<script", "<link", "url(http", "xmlns"):
        assert word not in html
    assert "default-src 'none'" in html


def test_every_text_is_escaped():
    html = whole_page(EVIL)
    page = Reader(html)
    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert "".join(page.text).count("alert(1)") >= 15


def test_plots_follow_the_theme_and_keep_only_the_names_they_refer_to():
    html = whole_page("x")
    assert "var(--curve, #0072b2)" in html
    body = html[html.index("<main>") : html.index("</main>")]
    used = set(Reader(body).references)
    assert all(f"#{name}" in used or f"url(#{name})" in body for name in Reader(body).ids)


def test_equal_sections_give_an_equal_page(tmp_path):
    assert whole_page("x") == whole_page("x")
    write_page(tmp_path / "new folder" / "seite.html", "Tür", "", [])
    assert "<h1>Tür</h1>" in (tmp_path / "new folder" / "seite.html").read_text(encoding="utf-8")
