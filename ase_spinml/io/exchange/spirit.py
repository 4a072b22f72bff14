"""Configuration files of Spirit: E = -sum over pairs of J e_i.e_j + D.(e_i x e_j), in meV.

Every pair is listed once. A tensor of this package equals Spirit's but for the unit; Spirit has no symmetric
anisotropic exchange. Pairs are given by basis atoms and cells, in a table whose columns are named in its first line:
``i j da db dc``, ``Jij``, and the DMI as a vector ``Dijx Dijy Dijz`` (its length counts) or a direction with ``Dij``.
"""

import numpy as np

from ase_spinml.calculators.shells import find_shells
from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.exchange.table import (
    ExchangeTable,
    check_table,
    half_table,
    magnetic_sites,
    parts,
    tensors,
    with_reverses,
)
from ase_spinml.io.text import Lines, whole_file
from ase_spinml.moments import unit_rows

_WHAT = "a configuration file of Spirit"
_MEV = 1e-3
_NUMBERS = ("n_shells_exchange", "n_shells_dmi", "lattice_constant", "mu_s", "jij", "dij", "dm_chirality")
_CELLS = {
    "sc": np.eye(3),
    "fcc": 0.5 * (1 - np.eye(3)),
    "bcc": 0.5 - np.eye(3),
}


def read_spirit(path, species=None):
    """Crystal and exchange table of a configuration file.

    Parameters
    ----------
    path : str or Path
    species : sequence of str, optional
        Chemical symbol of each basis atom; default: ``X``.

    Returns
    -------
    atoms : ase.Atoms
        The basis cell, periodic, with moments of length ``mu_s`` along z (Spirit keeps directions elsewhere).
    table : ExchangeTable
        Tensors in eV.

    Raises
    ------
    InputError
        Not such a file, a damaged one, pairs in a file of their own, a lattice or chirality that is not covered: pairs
        need ``sc`` or ``bravais_vectors``, shells also take ``fcc`` and ``bcc``, and a DMI along the bond.
    """
    keys = _keywords(path)
    kind = (keys.get("hamiltonian") or ["none"])[0]
    if kind not in ("heisenberg_pairs", "heisenberg_neighbours") or "interaction_pairs_file" in keys:
        raise InputError(f"Expected heisenberg_pairs or heisenberg_neighbours in {path}, got {kind} or a pairs file.")
    cell, scaled, moments = _geometry(keys, kind, path)
    positions = scaled @ cell
    if kind == "heisenberg_pairs":
        if "pairs" not in keys:
            raise InputError(f"Expected n_interaction_pairs in {path}, got none.")
        table = keys["pairs"]
    else:
        table = _by_shell(keys, positions, cell, path)
    symbols = ["X"] * len(positions) if species is None else list(species)
    if len(symbols) != len(positions):
        raise InputError(f"Expected a species for each of {len(positions)} basis atoms, got {len(symbols)}.")
    atoms = make_frame(symbols, positions, cell, moments=moments)
    return atoms, check_table(with_reverses(table), len(atoms), source=str(path))


def write_spirit(path, atoms, table, drop_anisotropy=False):
    """Write the geometry and the Hamiltonian of a configuration file; the methods' settings have to be added.

    Parameters
    ----------
    path : str or Path
    atoms : ase.Atoms
        The crystal, with moments; atoms without a moment are left out.
    table : ExchangeTable or (i, j, S, J)
        In the convention of :mod:`ase_spinml.io.exchange.table`.
    drop_anisotropy : bool
        Leave out symmetric anisotropic exchange, for which Spirit has no place, instead of refusing it.
    """
    sites, table, moments = magnetic_sites(atoms, table)
    isotropic, dmi, symmetric = (part / _MEV for part in parts(half_table(table).J))
    i, j, S, _ = half_table(table)
    if not drop_anisotropy and np.abs(symmetric).max() > 1e-9:
        raise InputError(
            f"Expected no symmetric anisotropic exchange, as Spirit has no place for it, got up to "
            f"{np.abs(symmetric).max():.3g} meV: drop_anisotropy=True leaves it out."
        )
    with whole_file(path) as file:
        file.write("### Geometry\nlattice_constant 1.0\nbravais_vectors\n")
        file.writelines(_line(vector) for vector in atoms.cell.array)
        file.write(f"basis\n{len(sites)}\n")
        file.writelines(_line(position) for position in sites.get_scaled_positions(wrap=False))
        file.write("n_basis_cells 10 10 10\n\n### Hamiltonian\nhamiltonian heisenberg_pairs\n")
        file.write("boundary_conditions " + " ".join(str(int(periodic)) for periodic in atoms.pbc) + "\n")
        file.write("mu_s " + _line(np.linalg.norm(moments, axis=1)))
        file.write(f"\nn_interaction_pairs {len(i)}\ni j da db dc Jij Dijx Dijy Dijz\n")
        for row in zip(i, j, S, isotropic, dmi, strict=True):
            file.write(f"{row[0]} {row[1]} {row[2][0]} {row[2][1]} {row[2][2]} " + _line([row[3], *row[4]]))
        file.write("### end of pairs\n")


def _line(values):
    return " ".join(f"{value:.14g}" for value in values) + "\n"


def _keywords(path):
    """Words behind each keyword; tables as arrays."""
    keys = {}
    with Lines(path, _WHAT) as lines:
        for line in lines:
            words = line.split("#")[0].split()
            if not words:
                continue
            name = words[0].lower()
            if name in keys or lines.cut:
                raise lines.error(f"{name} once, and a line end", line)
            if name in ("bravais_vectors", "basis"):
                count = 3 if name == "bravais_vectors" else lines.integer(lines.next("a count").strip(), "a count")
                rows = [lines.next("a vector").split("#")[0].split() for _ in range(count)]
                keys[name] = np.array([lines.numbers(row, 3, "a vector") for row in rows])
            elif name == "n_interaction_pairs":
                keys["pairs"] = _pairs(lines, lines.integer((words[1:] or [""])[0], "a number of pairs"))
            elif name in _NUMBERS:
                if len(words) < 2:
                    raise lines.error(f"numbers behind {name}", line)
                keys[name] = lines.numbers(words[1:], None, f"numbers behind {name}")
            else:
                keys[name] = words[1:]
    if not {"bravais_lattice", "bravais_vectors"} & set(keys) or not keys.get("bravais_lattice", ["sc"]):
        raise InputError(f"Expected {_WHAT} with bravais_lattice or bravais_vectors, got {path} without.")
    return keys


def _pairs(lines, count):
    """The table of pairs, each once."""
    names = lines.next("the names of the columns").split()
    allowed = {"i", "j", "da", "db", "dc", "Jij", "Dij", "Dijx", "Dijy", "Dijz"}
    if set(names) - allowed or not {"i", "j", "da", "db", "dc"} <= set(names) or len(set(names)) != len(names):
        raise lines.error("columns i j da db dc Jij Dij Dijx Dijy Dijz", " ".join(names))
    rows = [lines.floats(len(names), f"{count} pairs of {len(names)} numbers") for _ in range(count)]
    if not rows:
        raise lines.error("a number of pairs above zero", str(count))
    column = dict(zip(names, np.array(rows).T, strict=True))
    S = np.stack([column[name] for name in ("da", "db", "dc")], axis=1)
    ends = np.stack([column["i"], column["j"]])
    if (ends != np.round(ends)).any() or (np.round(S) != S).any():
        raise lines.error("whole numbers for i j da db dc", "others")
    dmi = np.stack([column.get(name, np.zeros(count)) for name in ("Dijx", "Dijy", "Dijz")], axis=1)
    if "Dij" in column:
        dmi = column["Dij"][:, None] * unit_rows(dmi)
    J = tensors(column.get("Jij", np.zeros(count)), dmi)
    return ExchangeTable(*ends.astype(int), S.astype(int), _MEV * J)


def _geometry(keys, kind, path):
    """Cell (3, 3), scaled positions and moments along z."""
    name = keys.get("bravais_lattice", ["sc"])[0]
    covered = ("sc",) if kind == "heisenberg_pairs" else tuple(_CELLS)
    if "bravais_vectors" not in keys and name not in covered:
        raise InputError(f"Expected bravais_vectors or a lattice among {covered} in {path}, got {name}.")
    cell = keys["bravais_vectors"] if "bravais_vectors" in keys else _CELLS[name]
    cell = keys.get("lattice_constant", np.ones(1))[0] * cell
    scaled = keys.get("basis", np.zeros((1, 3)))
    lengths = keys.get("mu_s", np.ones(1))
    if len(lengths) not in (1, len(scaled)):
        raise InputError(f"Expected mu_s for each of {len(scaled)} basis atoms in {path}, got {len(lengths)}.")
    return cell, scaled, np.broadcast_to(lengths, len(scaled))[:, None] * np.array([0.0, 0.0, 1.0])


def _by_shell(keys, positions, cell, path):
    """Pairs of heisenberg_neighbours, each once."""
    values = {}
    for name, count in (("jij", "n_shells_exchange"), ("dij", "n_shells_dmi")):
        wanted = int(keys.get(count, np.zeros(1))[0])
        values[name] = keys.get(name, np.zeros(0))[:wanted]
        if len(values[name]) != wanted:
            raise InputError(f"Expected {wanted} constants {name} in {path}, got {len(values[name])}.")
    n_shells = max(len(part) for part in values.values())
    if n_shells == 0:
        raise InputError(f"Expected constants jij or dij in {path}, got none.")
    chirality = int(keys.get("dm_chirality", np.ones(1))[0])
    if len(values["dij"]) and chirality not in (1, -1):
        raise InputError(f"Expected dm_chirality 1 or -1 in {path}, got {chirality}: list the pairs instead.")
    i, j, S, shell, _ = find_shells(positions, cell, np.ones(3, dtype=bool), n_shells, 1e-3)
    exchange, dmi = (np.pad(part, (0, n_shells - len(part)))[shell] for part in values.values())
    bonds = unit_rows(positions[j] + S @ cell - positions[i])
    return ExchangeTable(i, j, np.round(S).astype(int), _MEV * tensors(exchange, chirality * dmi[:, None] * bonds))
