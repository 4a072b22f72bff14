"""Small files in the forms of VASP, written for tests: every value is made up, the layout is VASP's."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from ase.units import GPa

NO_SPIN, COLLINEAR, NONCOLLINEAR = "none", "collinear", "noncollinear"


@dataclass
class Sample:
    """A made-up run; arrays by ionic step. ``moments``: (steps, N) or (steps, N, 3), as VASP would print them."""

    symbols: list
    cell: np.ndarray
    positions: np.ndarray
    free: np.ndarray
    entropy: np.ndarray
    forces: np.ndarray
    kilobar: np.ndarray
    spin: str = NONCOLLINEAR
    moments: np.ndarray | None = None
    saxis: tuple = (0, 0, 1)
    smearing: int = 1
    converged: list = field(default_factory=list)

    @property
    def zero(self):
        """Energies for sigma -> 0: F + (E - F)/(n + 2), E - F = entropy."""
        return self.free + self.entropy / (max(self.smearing, 0) + 2)

    @property
    def stress(self):
        """ASE's stress (steps, 6)."""
        order = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
        return -0.1 * GPa * self.kilobar[:, order[0], order[1]]

    @property
    def counts(self):
        species = list(dict.fromkeys(self.symbols))
        return species, [self.symbols.count(s) for s in species]


def make_sample(steps=2, spin=NONCOLLINEAR, symbols=("Fe", "Fe", "Pt"), saxis=(0, 0, 1), seed=0, table=True):
    """A run of a few atoms; numbers are rounded as the files print them, so that every format gives the same."""
    rng = np.random.default_rng(seed)
    n = len(symbols)
    cell = np.round(np.diag([3.8, 3.9, 4.1]) + 0.1 * rng.normal(size=(3, 3)), 6)
    shape = {NO_SPIN: None, COLLINEAR: (steps, n), NONCOLLINEAR: (steps, n, 3)}[spin]
    kilobar = 50 * rng.normal(size=(steps, 3, 3))
    return Sample(
        list(symbols),
        cell,
        np.round(rng.uniform(0, 3.5, (steps, n, 3)), 5),
        np.round(-20 + rng.normal(size=steps), 8),
        np.round(0.03 * rng.uniform(1, 2, size=steps), 8),
        np.round(rng.normal(size=(steps, n, 3)), 6),
        np.round(kilobar + kilobar.transpose(0, 2, 1), 5),
        spin,
        None if shape is None or not table else np.round(2 * rng.normal(size=shape), 3),
        saxis,
        converged=[True] * steps,
    )


# --- OUTCAR ---


def outcar(sample):
    """Text of an OUTCAR with what the reader looks at, and a little of what it must pass over."""
    species, counts = sample.counts
    out = [" vasp.6.4.2 20Jul23 (made up) complex", " POTCAR:    PAW_PBE of the sample", ""]
    for symbol in species:
        out += [f"   VRHFIN ={symbol}: made up", f"   TITEL  = PAW_PBE {symbol}_pv 01Jan2000"]
    n = len(sample.symbols)
    noncollinear = sample.spin == NONCOLLINEAR
    out += [
        f"   number of dos      NEDOS =    301   number of ions     NIONS = {n:6d}",
        "   ions per type =            " + "".join(f"{k:4d}" for k in counts),
        f"   ISPIN  =      {2 if sample.spin == COLLINEAR else 1}    spin polarized calculation?",
        f"   LNONCOLLINEAR =      {'T' if noncollinear else 'F'} non collinear calculations",
        "   LSORBIT =      F    spin-orbit coupling",
        "   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps",
        f"   ISMEAR = {sample.smearing:5d};   SIGMA  =   0.20  broadening in eV -4-tet -1-fermi 0-gaus",
        f"   LORBIT       = {0 if sample.moments is None else 11:6d}    0 simple, 1 ext, 2 COOP (PROOUT)",
        "",
    ]
    if noncollinear:
        out += _saxis(sample.saxis)
    for k in range(len(sample.free)):
        out += _outcar_step(sample, k)
    out += ["", " General timing and accounting informations for this job:", " ===================", ""]
    return "\n".join(out)


def rotation(saxis):
    """Rz(alpha) Ry(beta), written out."""
    x, y, z = saxis
    alpha, beta = np.arctan2(y, x), np.arctan2(np.hypot(x, y), z)
    rz = [[np.cos(alpha), -np.sin(alpha), 0], [np.sin(alpha), np.cos(alpha), 0], [0, 0, 1]]
    ry = [[np.cos(beta), 0, np.sin(beta)], [0, 1, 0], [-np.sin(beta), 0, np.cos(beta)]]
    return np.array(rz) @ np.array(ry)


def _saxis(saxis):
    matrix = rotation(saxis)
    out = []
    for title, rows in (("SAXIS to cartesian coordinates", matrix), ("cartesian coordinates to SAXIS", matrix.T)):
        out += [f" transformation matrix from {title}", " " + 57 * "-"]
        out += ["".join(f"{x:14.7f} m_{c}" for x, c in zip(row, "xyz", strict=True)) for row in rows] + [""]
    return out


def _outcar_step(sample, k):
    xx, yy, zz, xy, yz, zx = (sample.kilobar[k][a] for a in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)))
    reached = "loop because EDIFF is reached" if sample.converged[k] else "loop EDIFF was not reached (unconverged)"
    out = []
    for scf in (1, 2, 3):
        out += [38 * "-" + f" Iteration {k + 1:6d}({scf:4d})  " + 39 * "-", ""]
        out += [f"  free energy    TOTEN  = {sample.free[k] + 0.1:18.8f} eV", ""]
        out += _tables(sample, k, scale=0.5)  # of the loop: not to be taken
    out += [24 * "-" + f" aborting {reached} " + 40 * "-", "", *_tables(sample, k)]
    out += [f"  in kB  {xx:12.5f}{yy:12.5f}{zz:12.5f}{xy:12.5f}{yz:12.5f}{zx:12.5f}"]
    out += ["  VOLUME and BASIS-vectors are now :", *_lattice(sample.cell), ""]
    out += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " " + 83 * "-"]
    for r, f in zip(sample.positions[k], sample.forces[k], strict=True):
        out.append("".join(f"{x:13.5f}" for x in r) + "   " + "".join(f"{x:14.6f}" for x in f))
    out += [" " + 83 * "-", "    total drift:    0.000000      0.000000      0.000000", ""]
    out += [f"  free  energy   TOTEN  = {sample.free[k]:19.8f} eV", ""]
    without = sample.free[k] + sample.entropy[k]
    return [*out, f"  energy  without entropy={without:17.8f}  energy(sigma->0) ={sample.zero[k]:17.8f}", ""]


def _lattice(cell):
    reciprocal = np.linalg.inv(cell).T
    out = ["      direct lattice vectors                 reciprocal lattice vectors"]
    return out + [
        "    " + "".join(f"{x:13.9f}" for x in a) + "    " + "".join(f"{x:13.9f}" for x in b)
        for a, b in zip(cell, reciprocal, strict=True)
    ]


def _tables(sample, k, scale=1.0):
    if sample.moments is None:
        return []
    columns = sample.moments[k][:, None] if sample.spin == COLLINEAR else sample.moments[k]
    out = []
    for c, name in zip(range(columns.shape[1]), "xyz", strict=False):
        out += ["", f" magnetization ({name})", " ", "# of ion       s       p       d       tot", 42 * "-"]
        d = np.round(scale * columns[:, c], 3)
        out += [f"{i + 1:5d}    {0.0:8.3f}{0.0:8.3f}{x:8.3f}{x:8.3f}" for i, x in enumerate(d)]
        if len(d) > 1:
            out += [50 * "-", f"tot      {0.0:8.3f}{0.0:8.3f}{d.sum():8.3f}{d.sum():8.3f}"]
    return [*out, " "]


# --- OSZICAR ---


def oszicar(sample, penalty=None, lam=None, smooth=None, fields=None, constrained=None):
    """Text of an OSZICAR; of a constrained run with ``penalty`` (steps,), ``smooth`` and ``fields`` (steps, N, 3)."""
    out = []
    for k, free in enumerate(sample.free):
        out.append("       N       E                     dE             d eps       ncg     rms          rms(c)")
        for scf in (1, 2):
            if penalty is not None:
                out += ["", _penalty(penalty[k], lam), f"<lVp>={penalty[k]:13.5E}", " DBL =  0.00000E+00"]
                out += [" ion        MW_int                 M_int", *_moments(smooth[k] * (1 if scf == 2 else 0.9))]
            value = free if scf == 2 else free + 1
            out.append(f"DAV: {scf:3d}    {fortran(value, 12)}    0.10000E-01   -0.10000E-01  1234   0.100E-01")
        magnetization = "".join(f"{x:11.4f}" for x in ([1.0] if sample.spin == COLLINEAR else [0.0, 0.0, 1.0]))
        energies = f"F= {_dot(free)} E0= {_dot(sample.zero[k])}  d E ={_dot(-sample.entropy[k], 6)}"
        out.append(f"{k + 1:4d} {energies}  mag={magnetization}")
        if penalty is not None:
            out += ["", _penalty(penalty[k], lam), " ion             lambda*MW_perp"]
            for atom in range(len(smooth[k])) if constrained is None else constrained:
                out.append(f"{atom + 1:3d}" + "".join(f"  {fortran(x, 5)}" for x in fields[k][atom]))
    return "\n".join([*out, ""])


def _penalty(penalty, lam):
    return f" E_p = {fortran(penalty, 5)}  lambda = {fortran(lam, 3)}"


def _moments(rows):
    return [f"{i + 1:3d}" + 2 * ("  " + "".join(f"{x:12.7f}" for x in row)) for i, row in enumerate(rows)]


def fortran(value, digits):
    """Fortran's E format: 0.12345E+01."""
    if value == 0:
        return f"{0.0:.{digits}f}E+00"
    exponent = int(np.floor(np.log10(abs(value)))) + 1
    mantissa = round(value / 10.0**exponent, digits)
    if abs(mantissa) >= 1:
        mantissa, exponent = mantissa / 10, exponent + 1
    return f"{mantissa:.{digits}f}E{exponent:+03d}"


def _dot(value, digits=8):
    return fortran(value, digits).replace("-0.", "-.")


# --- vasprun.xml ---


def vasprun(sample, tags=None, parameters_lambda=True):
    """Text of a vasprun.xml. ``tags``: what the user set. LAMBDA among the parameters is VASP's own, unrelated one."""
    noncollinear = "T" if sample.spin == NONCOLLINEAR else "F"
    out = ['<?xml version="1.0" encoding="ISO-8859-1"?>', "<modeling>", " <generator>"]
    out += ['  <i name="version" type="string">6.4.2  </i>', " </generator>", " <incar>"]
    out += [f'  <i name="{name}">  {value}</i>' for name, value in (tags or {}).items()]
    out += [" </incar>", " <parameters>", '  <separator name="electronic" >']
    out += [
        f'   <i type="int" name="ISPIN">     {2 if sample.spin == COLLINEAR else 1}</i>',
        f'   <i type="logical" name="LNONCOLLINEAR"> {noncollinear}  </i>',
        '   <i type="logical" name="LSORBIT"> F  </i>',
        '   <v name="SAXIS">  ' + " ".join(f"{x:14.8f}" for x in sample.saxis) + "</v>",
        '   <i type="int" name="NELM">    60</i>',
        f'   <i type="int" name="ISMEAR">  {sample.smearing:4d}</i>',
    ]
    out += ['   <i name="LAMBDA">      1.00000000</i>'] if parameters_lambda else []
    out += ["  </separator>", " </parameters>", " <atominfo>", f"  <atoms>{len(sample.symbols):8d} </atoms>"]
    out += ['  <array name="atoms" >', "   <set>"]
    out += [f"    <rc><c>{symbol}</c><c>   1</c></rc>" for symbol in sample.symbols]
    out += ["   </set>", "  </array>", " </atominfo>"]
    for k in range(len(sample.free)):
        out += _calculation(sample, k)
    return "\n".join([*out, "</modeling>", ""])


def _calculation(sample, k):
    free, without, zero = sample.free[k], sample.free[k] + sample.entropy[k], sample.zero[k]
    energies = [
        f'<i name="{name}">{value:19.8f} </i>'
        for name, value in (("e_fr_energy", free), ("e_wo_entrp", without), ("e_0_energy", zero))
    ]
    out = [" <calculation>"]
    out += ["  <scstep>", "   <energy>", *energies, "   </energy>", "  </scstep>"] * (2 if sample.converged[k] else 60)
    out += ["  <structure>", "   <crystal>", *_varray("basis", sample.cell)]
    out += [f'    <i name="volume">{abs(np.linalg.det(sample.cell)):18.8f} </i>']
    out += [*_varray("rec_basis", np.linalg.inv(sample.cell).T), "   </crystal>"]
    fractional = sample.positions[k] @ np.linalg.inv(sample.cell)
    out += [*_varray("positions", fractional), "  </structure>", *_varray("forces", sample.forces[k])]
    out += [*_varray("stress", sample.kilobar[k]), "  <energy>", *energies, "  </energy>"]
    return [*out, "  <dos>", "   <set><r> 1.0 2.0 </r></set>", "  </dos>", " </calculation>"]


def _varray(name, rows):
    body = ["    <v>" + "".join(f"{x:17.8f}" for x in row) + " </v>" for row in rows]
    return [f'   <varray name="{name}" >', *body, "   </varray>"]


# --- vaspout.h5 ---


def write_vaspout(path, sample, tags=None, table="spin_moments/values"):
    """Write a vaspout.h5 in the layout of VASP 6.4."""
    h5py = pytest.importorskip("h5py")
    steps, n = len(sample.free), len(sample.symbols)
    species, counts = sample.counts
    inner = "intermediate/ion_dynamics"
    with h5py.File(path, "w") as file:
        file["version/major"], file["version/minor"], file["version/patch"] = 6, 4, 2
        own = {"ISMEAR": sample.smearing, "ISPIN": 2 if sample.spin == COLLINEAR else 1}
        own |= {"LNONCOLLINEAR": int(sample.spin == NONCOLLINEAR), "SAXIS": np.array(sample.saxis, float)}
        for name, value in (own | (tags or {})).items():
            file[f"input/incar/{name}"] = value
        file["results/positions/ion_types"] = np.array(species, dtype="S2")
        file["results/positions/number_ion_types"] = counts
        file[f"{inner}/lattice_vectors"] = np.repeat(sample.cell[None], steps, axis=0)
        file[f"{inner}/position_ions"] = sample.positions @ np.linalg.inv(sample.cell)
        labels = [b"free energy    TOTEN", b"energy without entropy", b"energy(sigma->0)"]
        file[f"{inner}/energies_tags"] = np.array(labels)
        file[f"{inner}/energies"] = np.stack([sample.free, sample.free + sample.entropy, sample.zero], axis=1)
        file[f"{inner}/forces"], file[f"{inner}/stress"] = sample.forces, sample.kilobar
        if sample.moments is not None:
            m = sample.moments[..., None] if sample.spin == COLLINEAR else sample.moments
            values = np.zeros((steps, 1 + m.shape[2], n, 3))
            values[:, 0, :, 0] = 8.0
            values[:, 1:, :, 2] = np.moveaxis(m, 2, 1)
            file[f"{inner}/magnetism/{table}"] = values
