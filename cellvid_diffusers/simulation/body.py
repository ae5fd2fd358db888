r"""A deformable piece of a cell: a map from a unit disc of material to the field.

A material point :math:`m = \rho e^{i\theta}`, :math:`\rho \le 1`, is mapped to the field position

.. math:: c + R_\alpha\, B_\kappa\, S_s\, (r_0 \rho + l(\theta) \rho^3)\, e^{i\theta}

with core radius :math:`r_0`, lobes :math:`l \ge 0` (hillocks, lamella, tail, filopodia), stretch
:math:`S_s = \mathrm{diag}(s, 1/s)`, bend :math:`B_\kappa(x, y) = (x, y + \kappa x^2)`, rotation and centre. Lobes
vanish towards the middle and do not distort the nucleus. Every factor has an exact inverse, which gives exact flow: map
a pixel to its material in one frame and that material to the field in the next.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

ANGLES = np.arange(72) * (2 * np.pi / 72)
"""Directions in which lobes are sampled, radians."""

RELIEF_SIDE = 65
"""Side of a relief image; its pixels span material coordinates -1 to 1."""


@dataclass(frozen=True, eq=False)
class Body:
    """A piece of a cell in one frame.

    Attributes
    ----------
    uid : int
        Identifier of the piece, the same in every frame.
    centre : ndarray of shape (2,)
        (x, y) in um.
    angle : float
        Radians, from x towards y.
    stretch : float
        Factor along the axis; the factor across it is the inverse.
    bend : float
        Curvature of the axis, 1/um.
    core : float
        Radius without lobes, um.
    lobes : ndarray of shape (72,)
        Addition to the radius in each direction of `ANGLES`, um, at least 0.
    relief : ndarray of shape (65, 65), float32
        Optical path difference over the material disc, um.
    """

    uid: int
    centre: np.ndarray
    angle: float
    stretch: float
    bend: float
    core: float
    lobes: np.ndarray
    relief: np.ndarray

    def shifted(self, by: np.ndarray) -> "Body":
        """The same body moved by `(2,)` um."""
        return replace(self, centre=self.centre + by)

    def towards(self, later: "Body", share: float) -> "Body":
        """The same body at a share in [0, 1] of its way to a `later` pose."""
        turn = shortest_turn(self.angle, later.angle)
        blended = {
            name: (1 - share) * getattr(self, name) + share * getattr(later, name)
            for name in ("centre", "stretch", "bend", "core", "lobes", "relief")
        }
        return replace(later, angle=self.angle + share * turn, **blended)

    @cached_property
    def outline(self) -> np.ndarray:
        """Edge of the body at `ANGLES`, `(72, 2)` um."""
        return self.to_field(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1))

    @cached_property
    def reach(self) -> float:
        """Distance from the centre to the farthest point of the edge, um."""
        return float(np.linalg.norm(self.outline - self.centre, axis=1).max())

    @property
    def optical_volume(self) -> float:
        """Optical path difference integrated over the body, um^3: its mean over the material times the area."""
        x, y = self.outline.T
        area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
        return area * float(self.relief[np.hypot(*material_grid()) < 1].mean())

    def to_field(self, material: np.ndarray) -> np.ndarray:
        """Material `(..., 2)` -> field, um."""
        x, y = material[..., 0], material[..., 1]
        scale = self.core + self._lobe(np.arctan2(y, x)) * (x**2 + y**2)
        x, y = x * scale * self.stretch, y * scale / self.stretch
        y = y + self.bend * x**2
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        field = np.empty(np.shape(material))
        field[..., 0] = cos * x - sin * y + self.centre[0]
        field[..., 1] = sin * x + cos * y + self.centre[1]
        return field

    def to_material(self, points: np.ndarray) -> np.ndarray:
        """Field `(..., 2)`, um -> material; the norm is below 1 inside the body."""
        dx, dy = points[..., 0] - self.centre[0], points[..., 1] - self.centre[1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x, y = (cos * dx + sin * dy) / self.stretch, cos * dy - sin * dx
        y = (y - self.bend * (x * self.stretch) ** 2) * self.stretch
        distance = np.sqrt(x * x + y * y)
        # The only real root of lobe rho^3 + core rho = distance.
        bulge = np.sqrt(np.maximum(3 / self.core * self._lobe(np.arctan2(y, x)), 1e-6))
        radius = 2 / bulge * np.sinh(np.arcsinh(1.5 / self.core * distance * bulge) / 3)
        scale = radius / np.maximum(distance, 1e-9)
        material = np.empty(np.shape(points))
        material[..., 0], material[..., 1] = x * scale, y * scale
        return material

    def path_difference(self, material: np.ndarray) -> np.ndarray:
        """Optical path difference at material points `(H, W, 2)`, um; 0 outside the body."""
        where = ((material + 1) * (RELIEF_SIDE - 1) / 2).astype(np.float32)
        height = cv2.remap(
            self.relief, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        return height * ((material**2).sum(-1) < 1)

    def _lobe(self, angle: np.ndarray) -> np.ndarray:
        step = (angle + 2 * np.pi) * (len(ANGLES) / (2 * np.pi))
        below = step.astype(int)
        lobes = np.concatenate([self.lobes, self.lobes, self.lobes[:2]])  # angles reach from -pi to pi
        first = lobes[below]
        return first + (lobes[below + 1] - first) * (step - below)


def material_grid() -> tuple[np.ndarray, np.ndarray]:
    """Material coordinates (x, y) of a relief image's pixels."""
    line = np.linspace(-1, 1, RELIEF_SIDE)
    return line[None, :], line[:, None]


def shortest_turn(start: float, end: float) -> float:
    """Angle by which to turn from one direction to another, radians in [-pi, pi)."""
    return (end - start + np.pi) % (2 * np.pi) - np.pi


def bump(angle: float, width: float) -> np.ndarray:
    """A lobe of height 1 and angular width `width` (radians) in direction `angle`, at `ANGLES`."""
    return np.exp((np.cos(ANGLES - angle) - 1) / width**2)
