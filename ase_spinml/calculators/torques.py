"""Torques of spin-polarised currents, as exchange fields of terms that have no energy.

With Gilbert's equation de/dt = -gamma e x H + alpha e x de/dt, a torque tau = de/dt perpendicular to e is the field H =
e x tau / gamma, which the dynamics adds to those of the energy; damping then acts on it as Gilbert's equation says. The
work of such a field is no change of an energy: the terms report an energy, forces and a stress of zero, and
``conservative = False``. In a sum with conservative terms the energy is that of the others.
"""

import numpy as np

from ase_spinml.calculators.gradient import LatticeGradient
from ase_spinml.calculators.term import Drive, DrivenTerm, Selection, direction, number
from ase_spinml.errors import InputError
from ase_spinml.moments import transverse, unit_rows
from ase_spinml.units import GYROMAGNETIC_RATIO, MU_B


class Torque(DrivenTerm):
    """A term without energy; a subclass gives ``torque_fields(atoms, moments)``, (N, 3) in eV/mu_B."""

    conservative = False

    def terms(self, atoms, moments):
        fields = self.torque_fields(atoms, moments)
        return np.zeros(len(atoms)), fields, np.zeros((len(atoms), 3)), np.zeros((3, 3))


class SlonczewskiTorque(Torque):
    """Spin-transfer torque of a current polarised along p, H_i = mu_B (B_DL e_i x p + B_FL p), transverse.

    In Gilbert's equation that is de/dt = gamma mu_B [B_DL e x (p x e) - B_FL e x p]. B_DL > 0, the damping-like (or
    antidamping) part, turns a moment towards p; B_FL, the field-like part, makes it precess about p like a magnetic
    field B_FL p. A magnet with alpha in a field B along p switches when B_DL and alpha B have opposite signs and
    |B_DL| > |alpha B|.

    Parameters
    ----------
    polarisation : array_like, shape (3,)
        Direction p of the moments that the current carries into the atoms; only its direction counts.
    damping_like_T, field_like_T : float or callable
        B_DL and B_FL in tesla, constant or functions of the time (ASE time units);
        :func:`~ase_spinml.calculators.currents.spin_current_field` gives B_DL of a current.
    species, indices : optional
        Act on these species or atoms alone (:class:`~ase_spinml.calculators.term.Selection`).

    Raises
    ------
    InputError
        Unusable parameters, both strengths zero; when a frame is seen: no moments.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import SlonczewskiTorque
    >>> from ase_spinml.units import MU_B
    >>> atoms = Atoms("Fe", magmoms=[[0, 0, 2.2]])
    >>> torque = SlonczewskiTorque((1, 0, 0), damping_like_T=0.5)
    >>> (torque.get_property("exchange_fields", atoms) / MU_B).round(6).tolist()
    [[0.0, 0.5, 0.0]]
    """

    def __init__(self, polarisation, damping_like_T=0.0, field_like_T=0.0, species=None, indices=None):
        self.polarisation = direction("polarisation", polarisation)
        self._damping_like = Drive("damping_like_T", damping_like_T, (), "tesla")
        self._field_like = Drive("field_like_T", field_like_T, (), "tesla")
        strengths = self._damping_like, self._field_like
        if not any(strength.varies or strength(0.0) for strength in strengths):
            raise InputError("Expected damping_like_T or field_like_T other than zero, got none: give one in tesla.")
        self._selection = Selection(species, indices)
        super().__init__(*strengths)

    def torque_fields(self, atoms, moments):
        chosen = self._selection.mask(atoms, moments)
        spins = unit_rows(moments)[chosen]
        fields = np.zeros((len(atoms), 3))
        fields[chosen] = self._damping_like(self.time) * np.cross(spins, self.polarisation)
        fields[chosen] += self._field_like(self.time) * transverse(np.tile(self.polarisation, (len(spins), 1)), spins)
        return MU_B * fields


class SpinOrbitTorque(SlonczewskiTorque):
    """Torque of a current in a neighbouring layer: :class:`SlonczewskiTorque` with p = n x j, made a unit vector.

    Parameters
    ----------
    current : array_like, shape (3,)
        Direction j of the (conventional) current.
    normal : array_like, shape (3,)
        Direction n; turning it or the current round turns both torques round, as does a change of both signs below.
    damping_like_T, field_like_T, species, indices
        As in :class:`SlonczewskiTorque`.

    Raises
    ------
    InputError
        As :class:`SlonczewskiTorque`; a current along the normal.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import SpinOrbitTorque
    >>> from ase_spinml.units import MU_B
    >>> atoms = Atoms("Fe", magmoms=[[0, 0, 2.2]])
    >>> torque = SpinOrbitTorque((1, 0, 0), field_like_T=0.5)  # current along x, polarised along y
    >>> (torque.get_property("exchange_fields", atoms) / MU_B).round(6).tolist()
    [[0.0, 0.5, 0.0]]
    """

    def __init__(self, current, normal=(0, 0, 1), damping_like_T=0.0, field_like_T=0.0, species=None, indices=None):
        polarisation = np.cross(direction("normal", normal), direction("current", current))
        if np.linalg.norm(polarisation) < 1e-8:
            raise InputError(f"Expected a current that is not along the normal, got {current} and {normal}.")
        super().__init__(polarisation, damping_like_T, field_like_T, species, indices)


class ZhangLiTorque(Torque):
    """Torque of a uniform current through a texture, de/dt = ... - (u.grad) e + beta e x (u.grad) e.

    These are the adiabatic and the non-adiabatic term in Gilbert's form of the equation of motion (Zhang and Li, Phys.
    Rev. Lett. 93, 127204 (2004); Thiaville et al., Europhys. Lett. 69, 990 (2005)). They are the field H = -(1/gamma)
    [e x g + beta g] with g = (u.grad) e perpendicular to e. A texture is carried along +u; for beta = alpha without any
    other change, e(r, t) = e(r - u t).

    The gradient is fitted to the spins of the neighbours (:class:`~ase_spinml.calculators.gradient.LatticeGradient`).
    It is that of one smooth texture: an antiferromagnet or ferrimagnet needs one term per sublattice.

    Parameters
    ----------
    velocity : array_like, shape (3,), or callable
        Drift velocity u in Angstrom per ASE time unit, constant or a function of the time;
        :func:`~ase_spinml.calculators.currents.drift_velocity` gives that of a current.
    cutoff : float
        Neighbours up to this distance, in Angstrom, enter the gradient: the first shell or two.
    beta : float
        Non-adiabaticity.
    species, indices : optional
        Act on, and take the gradient among, these species or atoms alone
        (:class:`~ase_spinml.calculators.term.Selection`).
    gyromagnetic_ratio : float
        That of the dynamics, gamma in 1/(eV ASE time) per mu_B.

    Raises
    ------
    InputError
        Unusable parameters; when a frame is seen: no moments, atoms without a neighbour along u.

    Examples
    --------
    >>> import numpy as np
    >>> from ase import Atoms
    >>> from ase_spinml import ZhangLiTorque, set_moments
    >>> atoms = Atoms("Fe8", positions=[[2.5 * n, 0, 0] for n in range(8)], cell=[20, 9, 9], pbc=(True, False, False))
    >>> angle = 2 * np.pi * np.arange(8) / 8
    >>> set_moments(atoms, np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1))
    >>> field = ZhangLiTorque((1.0, 0, 0), cutoff=3.0).get_property("exchange_fields", atoms)
    >>> bool(np.ptp(field, axis=0).max() < 1e-12)              # a spiral moves as a whole
    True
    """

    def __init__(self, velocity, cutoff, beta=0.0, species=None, indices=None, gyromagnetic_ratio=GYROMAGNETIC_RATIO):
        self._velocity = Drive("velocity", velocity, (3,), "Angstrom per ASE time unit")
        self.beta = number("beta", beta)
        self._ratio = number("gyromagnetic_ratio", gyromagnetic_ratio, "1/(eV ASE time) per mu_B")
        if self._ratio == 0:
            raise InputError("Expected a gyromagnetic_ratio other than zero, got 0.")
        self._gradient = LatticeGradient(cutoff)
        self._selection = Selection(species, indices)
        super().__init__(self._velocity)

    def torque_fields(self, atoms, moments):
        chosen = self._selection.mask(atoms, moments)
        spins, velocity = unit_rows(moments)[chosen], self._velocity(self.time)
        fields = np.zeros((len(atoms), 3))
        self._gradient.update(atoms.positions[chosen], atoms.cell.array, atoms.pbc)
        if velocity.any() and not self._gradient.sees(velocity):
            raise InputError(
                f"Expected neighbours along the velocity {velocity.tolist()} within {self._gradient.cutoff} Angstrom, "
                "got none: increase cutoff."
            )
        change = transverse(self._gradient(spins, velocity), spins)
        fields[chosen] = -(np.cross(spins, change) + self.beta * change) / self._ratio
        return fields
