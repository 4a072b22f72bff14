"""The skyrmion of tutorial 10 and the barrier of its collapse, by the program Spirit (single precision).

pip install spirit    # in an environment of its own
python benchmarks/spirit_skyrmion.py    # prints energies in meV; a minute
"""

import tempfile
from pathlib import Path

import numpy as np
from spirit import chain, configuration, parameters, quantities, simulation, state, system, transition

CONFIGURATION = """
log_to_console 0
log_to_file 0
hamiltonian heisenberg_neighbours
bravais_lattice sc
n_basis_cells 30 30 1
boundary_conditions 1 1 0
mu_s 2
external_field_magnitude 25
external_field_normal 0 0 1
anisotropy_magnitude 0
n_shells_exchange 1
jij 10
n_shells_dmi 1
dij 6
dm_chirality 1
ddi_method none
llg_force_convergence 1e-9
gneb_force_convergence 1e-7
"""
IMAGES = 12


def relax_band(p, iterations):
    """Energies of the images in meV."""
    simulation.start(p, simulation.METHOD_GNEB, simulation.SOLVER_VP_OSO, n_iterations=iterations)
    chain.update_data(p)
    return np.array(chain.get_energy(p))


def main(file):
    with state.State(file, quiet=True) as p:
        configuration.plus_z(p)
        system.update_data(p)
        ferromagnet = system.get_energy(p)
        configuration.skyrmion(p, radius=5, phase=-90)
        simulation.start(p, simulation.METHOD_LLG, simulation.SOLVER_LBFGS_OSO, n_iterations=20000)
        system.update_data(p)
        print(f"ferromagnet {ferromagnet:.3f} meV, charge of the skyrmion {quantities.get_topological_charge(p):.0f}")
        print(f"skyrmion above the ferromagnet {system.get_energy(p) - ferromagnet:.3f} meV")
        chain.image_to_clipboard(p)
        chain.set_length(p, IMAGES)
        chain.jump_to_image(p, IMAGES - 1)
        configuration.plus_z(p)
        chain.jump_to_image(p, 0)
        transition.homogeneous(p, 0, IMAGES - 1)
        energies = relax_band(p, 4000)
        climbing = int(np.argmax(energies))
        parameters.gneb.set_climbing_falling(p, parameters.gneb.IMAGE_CLIMBING, climbing)
        energies = relax_band(p, 10000)
        print(f"barrier {energies.max() - energies[0]:.3f} meV, {IMAGES} images")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "skyrmion.cfg"
        path.write_text(f"output_folder {folder}\n{CONFIGURATION}")
        main(str(path))
