"""Electrons coupled to classical spins as an ASE calculator: the s-d model and its double-exchange limit."""

import numpy as np
from ase.calculators.calculator import BaseCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from ase_spinml import checks
from ase_spinml.calculators.bonds import bond_source
from ase_spinml.calculators.solvers import checked_coupling, checked_filling, checked_mesh, checked_solver
from ase_spinml.calculators.term import direction, number
from ase_spinml.electrons.classical import classical_terms, forces_of_bonds
from ase_spinml.electrons.ensemble import Ensemble
from ase_spinml.electrons.sd import SDHamiltonian, block_derivatives, hopping_blocks
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, transverse, unit_rows


class SDModel(BaseCalculator):
    """Itinerant electrons coupled to classical spins (s-d or Kondo lattice model).

    H = -sum_<ij> t_ij (c_i^+ c_j + h.c.) + Rashba hopping + sum_i w_i n_i - J sum_i S_i . c_i^+ sigma c_i
    + sum_<ij> J_AF S_i.S_j - sum_i B.S_i - K sum_i (S_i.a)^2

    Every atom is a site. S_i is the direction of its moment, of length 1 whatever the moment's; a site without a moment
    has none. ``coupling=numpy.inf`` is the double-exchange limit, in which electrons follow the spins, a site holds one
    electron at most, and the constant -J per electron is left out.

    Lattice units: hbar = 1, k_B = 1, energies in units of t. They stand where ASE has eV, so that a time of one ASE
    unit is hbar/t for ``SpinDynamics(atoms, 0.1, gyromagnetic_ratio=1.0)``, or -1.0 for dS/dt = +S x H, and
    ``temperature_K=T / ase.units.kB`` is a bath at T.

    Parameters
    ----------
    hopping : float, sequence of float, callable or (N, N) array
        t of the first neighbour shell, of several, as a function of the distances (P,) in Angstrom, or a Hermitian
        matrix t_ij.
    coupling : float
        J.
    filling : float, optional
        Electrons per site, between 0 and 2, or 1 for double exchange. 1.0 if neither this nor ``chemical_potential`` is
        given (0.5 for double exchange).
    temperature : float
        Of the electrons, >= 0.
    solver : str or solver
        "exact" (:class:`ase_spinml.electrons.exact.Exact`), "kpm" (:class:`ase_spinml.electrons.kpm.KPM`), "negf"
        (:class:`ase_spinml.electrons.driven.NEGF`: leads, a voltage, no energy), or an object that is called as these
        are.
    device : str, optional
        "cpu" (default) or "cuda".
    chemical_potential : float, optional
        Instead of the filling.
    kpts : (int, int, int) or (K, 3) array, optional
        Boundary conditions to average over: a mesh as of :func:`ase.dft.kpoints.monkhorst_pack`, or the k-points
        themselves, in units of the reciprocal cell of the frame. By default plain periodic ones.
    cutoff : float, optional
        Range in Angstrom of couplings that are functions, which should have fallen to zero there.
    rashba, superexchange : float, sequence of float or callable
        alpha of :func:`ase_spinml.electrons.sd.hopping_blocks` and J_AF, positive for antiparallel spins; as
        ``hopping``, all by shell or all functions.
    disorder : (N,) array, optional
        On-site energies w_i.
    magnetic_field : float or (3,) array
        B, along z if it is a number.
    anisotropy : float
        K; positive makes the axis easy.
    axis : (3,) array
        a.
    reference, tolerance
        Structure in which shells are found, and their width, as for :class:`ase_spinml.Heisenberg`.
    **options
        Of the solver, if it is named by a string.

    Attributes
    ----------
    potential : str
        What ``energy`` is, and what the fields are derivatives of: "free energy" F(N, T) at a fixed filling, "grand
        potential" Omega(mu, T) at a fixed chemical potential.
    conservative : bool
        Whether the fields are derivatives of the energy.

    Notes
    -----
    Results: energy, free_energy (both the potential above); exchange_fields (N, 3), transverse -(1/m_i) dE/dS_i;
    site_density (N,), electrons per site; chemical_potential; forces (N, 3) and stress (6,) at fixed moments, zero
    where no coupling depends on positions. Only what is asked for is computed: energies alone cost half, forces a
    little more than fields.

    The part of dE/dS_i along the spin, J times the electrons' spin, is left out. It is large, but turns with the spin,
    and explicit steps of the dynamics that took it for a field would drift a thousandfold more.

    Raises
    ------
    InputError
        Parameters out of range or of the wrong kind, an unknown solver or options that it does not have; when a frame
        is seen: no moments, shells that cannot be told apart, k-points along directions that are not periodic.

    Examples
    --------
    >>> from ase_spinml import SDModel
    >>> from ase_spinml.electrons import spin_lattice
    >>> for state in ("120", "FM"):                            # free energies per site, in units of the hopping
    ...     atoms = spin_lattice("triangular", (6, 6), state)
    ...     atoms.calc = SDModel(hopping=1.0, coupling=6.0, filling=1.0, temperature=0.01)
    ...     print(state, round(atoms.get_potential_energy() / len(atoms), 3))
    120 -6.35
    FM -6.0
    """

    implemented_properties = [
        "energy",
        "free_energy",
        "forces",
        "stress",
        "exchange_fields",
        "site_density",
        "chemical_potential",
    ]

    def __init__(
        self,
        hopping=1.0,
        coupling=6.0,
        filling=None,
        temperature=0.01,
        solver="exact",
        device=None,
        *,
        chemical_potential=None,
        kpts=None,
        cutoff=None,
        rashba=0.0,
        superexchange=0.0,
        disorder=None,
        magnetic_field=0.0,
        anisotropy=0.0,
        axis=(0, 0, 1),
        reference=None,
        tolerance=0.05,
        **options,
    ):
        super().__init__()
        checks.not_negative("temperature", temperature)
        self.coupling = checked_coupling(coupling)
        self._filling, self._mu = checked_filling(filling, chemical_potential, 1.0 if np.isinf(self.coupling) else 2.0)
        self.temperature = float(temperature)
        quantities = {"hopping": hopping, "rashba": rashba, "superexchange": superexchange}
        self._source = bond_source(quantities, cutoff, reference, tolerance)
        self._kpts = None if kpts is None else checked_mesh(kpts)
        self._disorder = None if disorder is None else np.array(disorder, dtype=float)
        field = np.array(magnetic_field, dtype=float)
        self._field = field if field.ndim else float(field) * np.array([0.0, 0.0, 1.0])
        if self._field.shape != (3,) or not np.isfinite(self._field).all():
            raise InputError(f"Expected magnetic_field to be one or three finite numbers, got {field.tolist()}.")
        self._anisotropy, self._axis = number("anisotropy", anisotropy), direction("axis", axis)
        self.solver = checked_solver(solver, device, options)
        if not getattr(self.solver, "has_energy", True):
            without = ("energy", "free_energy")
            self.implemented_properties = [name for name in self.implemented_properties if name not in without]
        self._lattice = self._key = None

    @property
    def potential(self):
        return Ensemble(self.temperature, self._filling, self._mu).potential

    @property
    def conservative(self):
        return getattr(self.solver, "conservative", True)

    def solve(self, atoms, density="site"):
        """What the solver finds for a frame: a :class:`~ase_spinml.electrons.ensemble.Solution`.

        ``density`` is None, "site" or "bond" as for :class:`~ase_spinml.electrons.exact.Exact`. Classical terms are not
        in its energy.
        """
        return self._solved(self._current_lattice(atoms), unit_rows(get_moments(atoms)), density)

    def bond_energies(self, atoms):
        """Sites and vectors of the bonds and the energies of hopping along them.

        Returns
        -------
        i, j : (P,) int arrays
        vectors : (P, 3) array
            From i to j, Angstrom.
        energies : (P,) array
            -t_ij <c_i^+ c_j + h.c.>, Rashba hopping included.
        """
        lattice, spins = self._current_lattice(atoms), unit_rows(get_moments(atoms))
        hops, hamiltonian = lattice.hops, lattice.hamiltonian
        energies = hamiltonian.bond_slopes(spins, self._solved(lattice, spins, "bond").bond, hamiltonian.blocks)
        return hops.i, hops.j, hops.vectors, energies

    def density_of_states(self, atoms, width=0.05, points=1000):
        """Electron levels per site and unit of energy.

        Parameters
        ----------
        atoms : ase.Atoms
        width : float
            Standard deviation of the Gaussian that stands for a level; the KPM has a width of its own.
        points : int

        Returns
        -------
        energies, density : (points,) arrays
            The density integrates to 2 (1 for double exchange).
        """
        solution = self.solve(atoms, None)
        return self.solver.density_of_states(solution, len(atoms), width, points)

    def calculate(self, atoms, properties, system_changes):
        lattice = self._current_lattice(atoms)
        moments = get_moments(atoms)
        spins = unit_rows(moments)
        wanted = set(properties)
        density = "site" if wanted & {"exchange_fields", "site_density"} else None
        if wanted & {"forces", "stress"} or (density and np.isinf(self.coupling)):
            density = "bond"
        solution = self._solved(lattice, spins, density)
        energy, classical, pairs = self._classical(lattice, spins)
        results = {"chemical_potential": solution.chemical_potential}
        if solution.energy is not None:
            results["energy"] = results["free_energy"] = float(solution.energy + energy)
        if density is not None:
            results["site_density"] = np.einsum("naa->n", solution.site).real
            fields = lattice.hamiltonian.fields(spins, solution.site, solution.bond) + classical
            lengths = np.linalg.norm(moments, axis=1)
            fields = fields * np.divide(1.0, lengths, out=np.zeros(len(lengths)), where=lengths > 0)[:, None]
            results["exchange_fields"] = transverse(fields, spins)
        if density == "bond":
            results["forces"], virial = lattice.forces(spins, solution.bond, pairs)
            if atoms.cell.rank == 3:
                results["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())
        self.results.update(results)

    def torch_fields(self, atoms, device, dtype):
        """Fields as a function of tensors, see :mod:`ase_spinml.calculators.tensors`; electrons in double precision."""
        import torch

        lattice = self._current_lattice(atoms)
        lengths = np.linalg.norm(get_moments(atoms), axis=1)
        scale = np.divide(1.0, lengths, out=np.zeros(len(lengths)), where=lengths > 0)[:, None]
        density = "bond" if np.isinf(self.coupling) else "site"

        def fields(spins):
            unit = unit_rows(spins.detach().double().cpu().numpy()) * (scale > 0)
            solution = self._solved(lattice, unit, density)
            total = lattice.hamiltonian.fields(unit, solution.site, solution.bond) + self._classical(lattice, unit)[1]
            return torch.as_tensor(transverse(scale * total, unit), device=device, dtype=dtype)

        return fields

    def reset(self):
        """Forget results and the lattice of earlier frames."""
        self.atoms, self.results, self._lattice = None, {}, None

    def _solved(self, lattice, spins, density):
        if np.isinf(self.coupling) and not spins.any(axis=1).all():
            raise InputError("Expected a moment on every site for double exchange, got zeros: use a finite coupling.")
        n_sites = lattice.hamiltonian.n_sites
        n_electrons = None if self._filling is None else self._filling * n_sites
        ensemble = Ensemble(self.temperature, n_electrons, self._mu)
        return self.solver(lattice.hamiltonian, spins, ensemble, self._kpts, density)

    def _current_lattice(self, atoms):
        """The lattice of a frame, kept while its geometry stays."""
        key = (len(atoms), atoms.positions.tobytes(), atoms.cell.array.tobytes(), atoms.pbc.tobytes())
        if self._lattice is None or self._key != key:
            self._check_frame(atoms)
            self._lattice = _Lattice(self._source.table(atoms), len(atoms), self.coupling, self._disorder)
            self._key = key
        return self._lattice

    def _check_frame(self, atoms):
        if self._disorder is not None and self._disorder.shape != (len(atoms),):
            raise InputError(
                f"Expected disorder of shape ({len(atoms)},), one energy per site, got shape {self._disorder.shape}."
            )
        if self._kpts is not None and self._kpts[:, ~atoms.pbc].any():
            raise InputError(
                f"Expected k-points of zero along directions that are not periodic, got kpts along "
                f"{np.flatnonzero(self._kpts.any(axis=0) & ~atoms.pbc).tolist()}: use 1 there."
            )

    def _classical(self, lattice, spins):
        table = lattice.bonds
        exchange = table.strengths[2]
        return classical_terms(spins, table.i, table.j, exchange, self._field, self._anisotropy, self._axis)


class _Lattice:
    """Bonds of a frame and the Hamiltonian made of those that electrons hop along."""

    def __init__(self, bonds, n_sites, coupling, disorder):
        self.bonds = bonds
        self.hops = bonds if bonds.blocks is not None else bonds.part(bonds.strengths[:2].any(axis=0))
        blocks = self.hops.blocks
        if blocks is None:
            hopping, rashba, _ = self.hops.strengths
            blocks = hopping_blocks(hopping, rashba, unit_rows(self.hops.vectors))
        self.hamiltonian = SDHamiltonian(
            n_sites, self.hops.i, self.hops.j, blocks, coupling, disorder, self.hops.shifts
        )

    def forces(self, spins, bond, pair_energies):
        """Forces (N, 3) and dE/d(strain) (3, 3) of electrons and superexchange."""
        n_sites = len(spins)
        total = np.zeros((n_sites, 3)), np.zeros((3, 3))
        hops = self.hops
        if hops.slopes[:2].any() or hops.strengths[1].any():
            derivatives = block_derivatives(hops.slopes[0], hops.strengths[1], hops.slopes[1], hops.vectors)
            pulls = self.hamiltonian.bond_slopes(spins, bond, derivatives)
            total = forces_of_bonds(n_sites, hops.i, hops.j, hops.vectors, pulls)
        if self.bonds.slopes[2].any():
            bonds = self.bonds
            pulls = (bonds.slopes[2] * pair_energies)[:, None] * unit_rows(bonds.vectors)
            more = forces_of_bonds(n_sites, bonds.i, bonds.j, bonds.vectors, pulls)
            total = total[0] + more[0], total[1] + more[1]
        return total
