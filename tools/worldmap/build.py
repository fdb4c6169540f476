"""Make ui/assets/world.svg: land and borders of the world, for the small offline map of a photo.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/worldmap/build.py package/countries-50m.json imgsearch/ui/assets/world.svg

The data is Natural Earth's (public domain), as world-atlas (ISC) packs it: TopoJSON, whose arcs are
shared between neighbours, delta-coded and quantized. The projection is plate carree, one unit a
degree, so that a point lies at (180 + longitude, 90 - latitude).
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

# Islands and holes with a bounding box smaller than this (degrees) are left out.
SMALLEST = 0.35
Point = tuple[float, float]


def decoded_arcs(topology: dict) -> list[list[Point]]:
    """Return every arc as points in degrees."""
    (scale_x, scale_y), (move_x, move_y) = (
        topology["transform"]["scale"],
        topology["transform"]["translate"],
    )
    arcs = []
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * scale_x + move_x, y * scale_y + move_y))
        arcs.append(points)
    return arcs


def ring(indices: list[int], arcs: list[list[Point]]) -> list[Point]:
    """Join arcs into one ring; a negative index means the arc backwards."""
    points: list[Point] = []
    for index in indices:
        part = arcs[index] if index >= 0 else arcs[~index][::-1]
        points += part[1:] if points else part
    return points


def polygons(geometry: dict) -> list[list[list[int]]]:
    """Return the polygons of a geometry as rings of arc indices."""
    if geometry["type"] == "GeometryCollection":
        return [one for part in geometry["geometries"] for one in polygons(part)]
    if geometry["type"] == "Polygon":
        return [geometry["arcs"]]
    return geometry["arcs"] if geometry["type"] == "MultiPolygon" else []


def path(points: list[Point]) -> str:
    """Return SVG path data with relative steps of a tenth of a degree; "" for what is too small."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if max(max(xs) - min(xs), max(ys) - min(ys)) < SMALLEST:
        return ""
    steps = [(round((180 + x) * 10), round((90 - y) * 10)) for x, y in points]
    data = f"M{steps[0][0]},{steps[0][1]}l"
    moves = [f"{x - px},{y - py}" for (px, py), (x, y) in pairwise(steps) if (x, y) != (px, py)]
    return data + " ".join(moves).replace(" -", "-").replace(",-", "-")


def main(source: Path, target: Path) -> None:
    """Write the picture."""
    topology = json.loads(source.read_text())
    arcs = decoded_arcs(topology)
    land = "".join(
        path(ring(indices, arcs)) + "z"
        for polygon in polygons(topology["objects"]["land"])
        for indices in polygon
        if path(ring(indices, arcs))
    )
    used: dict[int, int] = {}
    for polygon in polygons(topology["objects"]["countries"]):
        for indices in polygon:
            for index in indices:
                key = index if index >= 0 else ~index
                used[key] = used.get(key, 0) + 1
    borders = "".join(path(arcs[index]) for index, count in used.items() if count > 1)
    target.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3600 1800" width="3600" '
        'height="1800">'
        '<rect width="3600" height="1800" fill="#a9c7d8"/>'
        f'<path d="{land}" fill="#eef0e6" stroke="#7b8b84" stroke-width="2"/>'
        f'<path d="{borders}" fill="none" stroke="#9aa59f" stroke-width="2"/></svg>\n'
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
