"""The solver of driven electrons: a lattice of sites between two leads, by non-equilibrium Green functions.

It is called as the solvers of equilibrium are (:mod:`ase_spinml.electrons.exact`), so a calculator takes the one or
the other. Under a voltage no energy belongs to the fields.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ase_spinml.devices import torch_device
from ase_spinml.electrons.ensemble import Solution
from ase_spinml.electrons.junction import Junction
from ase_spinml.electrons.leads import number
from ase_spinml.electrons.negf import steady_state
from ase_spinml.electrons.sd import SIGMA
from ase_spinml.errors import InputError


@dataclass
class DrivenSolution(Solution):
    """Electrons between leads: a :class:`~ase_spinml.electrons.ensemble.Solution` without an energy, with currents.

    Attributes
    ----------
    currents : (L + 1, 4) array
        Flow to the right through every interface between slices and leads: electrons, and angular momentum (half the
        Pauli vector) along x, y, z, per unit of time.
    junction : Junction
        The device and its leads.
    """

    currents: np.ndarray | None = None
    junction: Junction | None = None


class NEGF:
    """Solver for sites between two leads.

    The cost is of O(N) along the leads and of O(width^3) across for each energy; long devices, whose levels are dense,
    take more energies.

    Sites are numbered slice by slice from the left lead to the right one, ``width`` sites to a slice, and hopping
    joins sites of the same slice or of neighbouring ones. The boundary has to be open along the leads; it may be
    periodic across. :func:`~ase_spinml.electrons.lattices.spin_lattice` makes such sites: "chain" of size L with
    ``pbc=False``, "square" of size (Lx, Ly) with ``pbc=(False, True)`` and ``width=Ly``.

    Parameters
    ----------
    device : str or torch.device, optional
        "cpu" (default) or "cuda".
    leads : pair
        Left and right lead (:mod:`ase_spinml.electrons.leads`).
    voltage : float
        V: the leads are filled up to mu + V/2 (left) and mu - V/2 (right).
    width : int
        Sites of a slice.
    bath : float
        Width Gamma_b of the coupling of every state to a bath filled up to mu.
    potential_drop : bool
        Whether site energies and the bands of the leads follow the voltage in a linear ramp
        (:meth:`ase_spinml.electrons.junction.Junction.with_potential_drop`).
    accuracy : float
        Bound of the error of each integral over energies, the tolerance of
        :func:`~ase_spinml.electrons.negf.steady_state`.

    Attributes
    ----------
    conservative : bool
        Whether the fields derive from an energy: not under a voltage.
    has_energy : bool
        False: no energy is worked out, under a voltage or without.

    Raises
    ------
    InputError
        Missing leads, a voltage that is not finite, unusable parameters, a device that is not there.
    """

    has_energy = False

    def __init__(
        self,
        device=None,
        *,
        leads=None,
        voltage=0.0,
        width=1,
        bath=0.0,
        potential_drop=False,
        accuracy=1e-8,
    ):
        if leads is None:
            raise InputError(
                "Expected leads=(left, right) for solver 'negf', got none: give two, SemiInfiniteLead() for instance."
            )
        if not isinstance(width, (int, np.integer)) or width < 1:
            raise InputError(f"Expected width to be a whole number of sites above zero, got {width}.")
        self.device, self.leads, self.width, self.bath = torch_device(device), leads, int(width), bath
        self.voltage, self.potential_drop, self.accuracy = number("voltage", voltage), potential_drop, accuracy
        self._slices = None

    @property
    def conservative(self):
        return self.voltage == 0

    def __call__(self, hamiltonian, spins, ensemble, twists=None, density="site"):
        """Solve for the electrons.

        Parameters
        ----------
        hamiltonian : SDHamiltonian
            With a finite coupling.
        spins : (N, 3) or (B, N, 3) array
            One set or several, unit rows.
        ensemble : Ensemble
            With a chemical potential.
        twists : None or zeros
            Boundaries are not twisted.
        density : str or None
            "bond" for rho_ji of the bonds as well.

        Returns
        -------
        DrivenSolution

        Raises
        ------
        InputError
            A filling, twists, double exchange, sites that are no slices; and as
            :class:`~ase_spinml.electrons.junction.Junction`, :func:`~ase_spinml.electrons.negf.steady_state`.
        """
        mu = ensemble.chemical_potential
        if mu is None:
            raise InputError("Expected chemical_potential with solver 'negf', got a filling: leads fix the former.")
        if twists is not None and np.any(twists):
            raise InputError("Expected no kpts with solver 'negf', got some: make the ribbon wider instead.")
        spins = np.asarray(spins, float)
        if spins.ndim == 3:
            return DrivenSolution.stack([self(hamiltonian, frame, ensemble, None, density) for frame in spins])
        junction = self.junction(hamiltonian, spins)
        state = steady_state(junction, mu, self.voltage, ensemble.temperature, self.accuracy)
        site, bond = hamiltonian.density(self._slices.entries(state.density, state.bonds))
        return DrivenSolution(
            None,
            mu,
            float(np.einsum("naa->", site).real),
            site=None if density is None else site,
            bond=bond if density == "bond" else None,
            currents=state.currents.cpu().numpy(),
            junction=junction,
        )

    def junction(self, hamiltonian, spins):
        """The device for one set of spins (N, 3), between its leads."""
        if self._slices is None or self._slices.hamiltonian is not hamiltonian:
            self._slices = _Slices(hamiltonian, self.width)
        blocks = [torch.as_tensor(part, device=self.device) for part in self._slices.blocks(spins)]
        junction = Junction(*blocks, self.leads, self.bath)
        return junction.with_potential_drop(self.voltage) if self.potential_drop else junction

    @staticmethod
    def density_of_states(solution, n_sites, width, points):
        """Energies and levels per site and energy, (points,) each; levels are Lorentzians of half-width ``width``."""
        junction = solution.junction
        reach = junction.radius(solution.chemical_potential) + 5 * width
        energies = solution.chemical_potential + np.linspace(-reach, reach, points)
        green, _, _ = junction.green(energies + 1j * width)
        density = -green.diagonal.diagonal(dim1=2, dim2=3).imag.sum((0, 2)) / np.pi
        return energies, density.cpu().numpy() / n_sites


def bond_currents(blocks, bond):
    """Flow of electrons and of their angular momentum along bonds.

    From site i to site j, -2 Im tr(A rho_ji) electrons and -Im tr((sigma A + A sigma) rho_ji)/2 of the angular
    momentum sigma/2, per unit of time. Where hopping turns the spin (Rashba) the latter is the mean of what leaves and
    what arrives.

    Parameters
    ----------
    blocks : (P, 2, 2) complex array
        A_b of the Hamiltonian, from i (rows) to j (columns).
    bond : (..., P, 2, 2) complex array
        rho_ji, ``bond`` of a solution.

    Returns
    -------
    (..., P, 4) array
        Electrons, and angular momentum along x, y, z.
    """
    electrons = np.einsum("pab,...pba->...p", blocks, bond)
    left, right = np.einsum("sab,pbc->psac", SIGMA, blocks), np.einsum("pab,sbc->psac", blocks, SIGMA)
    spin = np.einsum("psab,...pba->...ps", 0.25 * (left + right), bond)
    return -2.0 * np.concatenate([electrons[..., None], spin], axis=-1).imag


class _Slices:
    """Where the elements of a sparse Hamiltonian go in the blocks of its slices."""

    def __init__(self, hamiltonian, width):
        size = 2 * width
        if hamiltonian.orbitals != 2:
            raise InputError(
                "Expected a finite coupling with solver 'negf', got double exchange: use a large coupling."
            )
        if hamiltonian.n_sites % width:
            raise InputError(f"Expected slices of width={width} sites, got {hamiltonian.n_sites} in all: set width.")
        self.hamiltonian, self.count, self.size = hamiltonian, hamiltonian.size // size, size
        pattern = hamiltonian.sparse(np.zeros((hamiltonian.n_sites, 3)))
        rows, columns = np.repeat(np.arange(hamiltonian.size), np.diff(pattern.indptr)), pattern.indices
        step = columns // size - rows // size
        if np.abs(step).max() > 1:
            raise InputError(
                f"Expected hopping within slices of width={width} sites and to the next ones, got some over "
                f"{np.abs(step).max() + 1} slices: number sites from lead to lead, open that boundary, or set width."
            )
        self._within, self._up, self._down = step == 0, step == 1, step == -1
        self._places = (rows // size) * size**2 + (rows % size) * size + columns % size
        self._mirrored = (columns // size) * size**2 + (columns % size) * size + rows % size

    def blocks(self, spins):
        """Blocks (L, b, b) and (L - 1, b, b) of the Hamiltonian."""
        data = self.hamiltonian.sparse(spins).data
        blocks = []
        for count, chosen in ((self.count, self._within), (self.count - 1, self._up)):
            flat = np.zeros(count * self.size**2, complex)
            flat[self._places[chosen]] = data[chosen]
            blocks.append(flat.reshape(count, self.size, self.size))
        return blocks

    def entries(self, density, bonds):
        """Elements (nnz,) of the density matrix on the pattern of the Hamiltonian, from its blocks."""
        density, bonds = (part.cpu().numpy().ravel() for part in (density, bonds))
        entries = np.empty(len(self._places), complex)
        entries[self._within] = density[self._places[self._within]]
        entries[self._up] = bonds[self._places[self._up]]
        entries[self._down] = bonds[self._mirrored[self._down]].conj()
        return entries
