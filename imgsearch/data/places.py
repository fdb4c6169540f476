"""Places on the earth: which coordinates lie within some kilometres of another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from imgsearch.errors import QueryInvalid

# Mean radius of the earth (IUGG), in kilometres; as a ball it is off by at most 0.6 %.
EARTH_RADIUS = 6371.0088
# Degrees that a box is wider than it must be: rounding may not cut off what lies on its edge.
_MARGIN = 1e-6


@dataclass(frozen=True, slots=True)
class Near:
    """All places within `kilometres` of a coordinate, in degrees, north and east positive.

    The distance is that along the surface of a ball, by the haversine formula. Raises QueryInvalid
    for what is no place.
    """

    latitude: float
    longitude: float
    kilometres: float = 10.0

    def __post_init__(self) -> None:
        if not -90 <= self.latitude <= 90 or not -180 <= self.longitude <= 180:
            raise QueryInvalid(
                f"There is no place at {self.latitude}, {self.longitude}: a latitude is -90 to 90, "
                "a longitude -180 to 180."
            )
        if not 0 < self.kilometres < math.inf:
            raise QueryInvalid(
                f"The distance is {self.kilometres} kilometres; it must be more than 0."
            )

    def test(self) -> Callable[[float, float], bool]:
        """Return what tells of a latitude and longitude whether they lie within the distance.

        The edge is included. Made to be called for every picture of a large library.
        """
        radians, sin, cos = math.radians, math.sin, math.cos
        here, longitude_here = radians(self.latitude), self.longitude
        cos_here = cos(here)
        # d <= kilometres where h <= sin²(kilometres / 2 R); half around the earth is all of it.
        half = min(self.kilometres / (2 * EARTH_RADIUS), math.pi / 2)
        limit = sin(half) ** 2

        def is_within(latitude: float, longitude: float) -> bool:
            there = radians(latitude)
            north = sin((there - here) / 2)
            east = sin(radians(longitude - longitude_here) / 2)
            return north * north + cos_here * cos(there) * east * east <= limit

        return is_within if limit < 1 else lambda latitude, longitude: True

    def distance(self, latitude: float, longitude: float) -> float:
        """Return the distance to a coordinate in kilometres.

        With latitudes a, b and the difference of longitudes d, it is 2 R asin(sqrt(h)) where
        h = sin²((b - a) / 2) + cos(a) cos(b) sin²(d / 2).
        """
        here, there = math.radians(self.latitude), math.radians(latitude)
        north = math.sin((there - here) / 2)
        east = math.sin(math.radians(longitude - self.longitude) / 2)
        h = north * north + math.cos(here) * math.cos(there) * east * east
        return 2 * EARTH_RADIUS * math.asin(math.sqrt(min(1.0, h)))

    def latitudes(self) -> tuple[float, float]:
        """Return the southernmost and northernmost latitude that may be within the distance."""
        reach = math.degrees(self.kilometres / EARTH_RADIUS) + _MARGIN
        return self.latitude - reach, self.latitude + reach

    def longitudes(self) -> list[tuple[float, float]]:
        """Return the ranges, west to east, of the longitudes that may be within the distance.

        There are two where the date line lies between; and where a pole is within reach, all
        longitudes are.
        """
        south, north = self.latitudes()
        if south <= -90 or north >= 90:
            return [(-180.0, 180.0)]
        # The meridians touch the circle not at its own latitude but nearer to the pole.
        angle = self.kilometres / EARTH_RADIUS
        ratio = math.sin(angle) / math.cos(math.radians(self.latitude))
        reach = math.degrees(math.asin(min(1.0, ratio))) + _MARGIN
        west, east = self.longitude - reach, self.longitude + reach
        if west < -180:
            return [(west + 360, 180.0), (-180.0, east)]
        if east > 180:
            return [(west, 180.0), (-180.0, east - 360)]
        return [(west, east)]
