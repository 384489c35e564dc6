"""Anomalies: each is a function that creates actors and marks the frames in which they are anomalous.

A function takes the site, a random generator and the times (n,) of the frames in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .movement import Actor, drive, follow, length, mark, smooth, walk
from .people import random_person
from .site import Lane, Site
from .vehicles import Vehicle

__all__ = ["ANOMALIES"]

Anomaly = Callable[[Site, np.random.Generator, np.ndarray], list[Actor]]


def _running(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """Three people run along a path where people walk."""
    path, _ = _way(site, rng)
    start, speed = _start(rng, times), rng.uniform(4.0, 5.2)
    found = []
    for k in range(3):
        own = start + 0.5 * k + rng.uniform(-0.2, 0.2)
        runner = walk(rng, path, times, speed=speed * rng.uniform(0.95, 1.05), start=own, aside=0.7 * (k - 1))
        found.append(mark(runner, runner.present))
    return found


def _wrong_way(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """A usual user of the busiest one-way lane moves against its direction, at the usual speed."""
    lane = min(site.lanes, key=lambda lane: (lane.who == "people", lane.every))
    path = smooth(np.array(lane.path))[::-1]
    speed = float(np.mean(lane.speed))
    # after a third of the clip it has covered a third of the path, so that most of it is visible
    start = times[-1] * rng.uniform(0.25, 0.4) - length(path) / 3 / speed
    if lane.who == "people":
        ghost = walk(rng, path, times, speed=speed, start=start, aside=rng.uniform(-0.5, 0.5) * lane.spread)
    else:
        ghost = drive(Vehicle(lane.who.split()[0], (60, 90, 60)), path, times, speed=speed, start=start)
    return [mark(ghost, ghost.present)]


def _speeding(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """A car drives between the lanes at four times the usual speed."""
    lanes = [lane for lane in site.lanes if lane.who != "people"]
    path = smooth(np.mean([lane.path for lane in lanes], axis=0))
    speed = 4 * float(np.mean([lane.speed for lane in lanes]))
    racer = drive(Vehicle("car", (170, 40, 40)), path, times, speed=speed, start=_start(rng, times), sway=0.3)
    return [mark(racer, racer.present)]


def _vehicle(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """A vehicle drives where only people walk."""
    path = smooth(np.array(site.detours["vehicle"]))
    kind = ("van", "car")[rng.integers(2)]
    colour = ((205, 205, 210), (150, 30, 35))[rng.integers(2)]
    intruder = drive(
        Vehicle(kind, colour), path, times, speed=rng.uniform(5.5, 7.5), start=_start(rng, times), sway=0.4
    )
    return [mark(intruder, intruder.present)]


def _loitering(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """A person stays at a spot where nobody usually stays."""
    spot = np.array(site.detours["spot"][rng.integers(len(site.detours["spot"]))])
    begin = times[-1] * rng.uniform(0.15, 0.3)
    drift = [0.35 * np.sin(rng.uniform(0.3, 0.6) * times + rng.uniform(0, 6)) for _ in range(2)]
    count = len(times)
    idler = Actor(
        look=random_person(rng),
        place=spot + np.stack(drift, axis=1),
        heading=rng.uniform(0, 6) + 1.2 * np.sin(0.5 * times),
        present=times >= begin,
        gait=2.0 * times,
        stride=np.full(count, 0.08),
        tilt=np.full(count, 0.05),
        arms=0.5 + 0.5 * np.sin(0.8 * times),
        anomalous=np.zeros(count, bool),
    )
    return [mark(idler, idler.present)]


def _fall(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """A person walks in, falls within half a second at a visible place, and stays on the ground."""
    path, aside = _way(site, rng)
    moment = times[-1] * rng.uniform(0.35, 0.5)
    along = np.linspace(0, length(path), 100)
    places = follow(path, along, np.zeros(100))[0]
    before = along[np.argmin(np.linalg.norm(places - np.array(site.detours["spot"][0]), axis=1))]
    speed = 1.35
    walker = walk(rng, path, times, speed=speed, start=moment - before / speed, aside=aside)
    down = np.clip((times - moment) / 0.5, 0, 1)
    last = int(np.searchsorted(times, moment, side="right")) - 1
    index = np.minimum(np.arange(len(times)), last)
    fallen = replace(
        walker,
        place=walker.place[index],
        heading=walker.heading[index],
        present=walker.present[index],
        gait=walker.gait[index],
        stride=np.where(down > 0, 0.12, walker.stride),
        tilt=walker.tilt + down**2 * (np.pi / 2 - 0.05) + np.where(down >= 1, 0.02 * np.sin(2.5 * times), 0),
        arms=0.8 * down,
    )
    return [mark(fallen, down > 0)]


def _fight(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """Four people meet at a spot and fight."""
    spot = np.array(site.detours["spot"][rng.integers(len(site.detours["spot"]))])
    begin, end = times[-1] * rng.uniform(0.25, 0.4), times[-1] * rng.uniform(0.8, 0.95)
    way, _ = _way(site, rng)
    nearest = int(np.argmin(np.linalg.norm(way[1:] - spot, axis=1)))
    along = (way[nearest + 1] - way[nearest]) / np.linalg.norm(way[nearest + 1] - way[nearest])
    fighters = []
    for k in range(4):
        angle = 2 * np.pi * k / 4 + rng.uniform(0, 0.6)
        ring = np.array([np.cos(angle), np.sin(angle)])
        side = along if k % 2 else -along  # they come and leave along the lane
        away = np.clip(np.maximum(begin - times, times - end), 0, None)  # seconds before or after the fight
        inside = away == 0
        beat, phase = rng.uniform(6, 9), rng.uniform(0, 6)
        lunge = 0.45 * np.sin(beat * times + phase) + 0.35 * np.sin(0.6 * beat * times)
        slide = 0.8 * np.cos(0.45 * beat * times + phase)
        across = np.array([-ring[1], ring[0]])
        place = spot + 0.7 * ring + 1.5 * away[:, None] * side
        place += np.where(inside, lunge, 0.0)[:, None] * ring + np.where(inside, slide, 0.0)[:, None] * across
        walking = np.arctan2(-side[1], -side[0]) + np.where(times > end, np.pi, 0.0)
        heading = np.where(inside, np.arctan2(-ring[1], -ring[0]), walking)
        fighters.append(
            Actor(
                look=random_person(rng),
                place=place,
                heading=heading,
                present=away < 8.0,
                gait=np.where(inside, beat * times, 6.5 * times),
                stride=np.where(inside, 0.25, 0.3),
                tilt=np.where(inside, 0.25 + 0.15 * np.sin(beat * times), 0.04),
                arms=np.where(inside, 1.0, 0.0),
                anomalous=inside,
            )
        )
    return fighters


def _gathering(site: Site, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """Many people run to a spot from all sides, as to an accident, and push each other."""
    spot = np.array(site.detours["spot"][rng.integers(len(site.detours["spot"]))])
    begin = times[-1] * rng.uniform(0.25, 0.4)
    crowd = []
    for k in range(9):
        angle = 2 * np.pi * k / 9 + rng.uniform(-0.3, 0.3)
        ring = np.array([np.cos(angle), np.sin(angle)])
        path = smooth(np.array([spot + 16 * ring, spot + 6 * ring, spot + rng.uniform(0.8, 1.8) * ring]))
        runner = walk(rng, path, times, speed=rng.uniform(3.0, 4.0), start=begin - rng.uniform(0, 2))
        arrived = (times > begin) & ~runner.present
        index = np.where(arrived, max(0, int(np.flatnonzero(runner.present)[-1])) if runner.present.any() else 0,
                         np.arange(len(times)))  # fmt: skip
        beat, phase = rng.uniform(3, 6), rng.uniform(0, 6, 2)
        push = 0.3 * np.sin(beat * times[:, None] + phase)
        crowd.append(
            mark(
                replace(
                    runner,
                    place=runner.place[index] + np.where(arrived[:, None], push, 0.0),
                    heading=runner.heading[index],
                    present=runner.present | arrived,
                    gait=np.where(arrived, beat * times, runner.gait),
                    stride=np.where(arrived, 0.12, runner.stride),
                    tilt=np.where(arrived, 0.1, runner.tilt),
                    arms=np.where(arrived, 0.6, runner.arms),
                ),
                times >= begin,
            )
        )
    return crowd


ANOMALIES: dict[str, Anomaly] = {
    "running": _running,
    "wrong way": _wrong_way,
    "speeding": _speeding,
    "vehicle": _vehicle,
    "loitering": _loitering,
    "fall": _fall,
    "fight": _fight,
    "gathering": _gathering,
}


def _way(site: Site, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A random lane of people as a path, and an offset from its centre line in metres."""
    lanes: list[Lane] = [lane for lane in site.lanes if lane.who == "people"]
    lane = lanes[rng.integers(len(lanes))]
    return smooth(np.array(lane.path)), float(rng.uniform(-0.6, 0.6) * lane.spread)


def _start(rng: np.random.Generator, times: np.ndarray) -> float:
    """Start time in seconds of an actor that passes through: roughly in the second quarter of the clip."""
    return float(times[-1] * rng.uniform(0.2, 0.5))
