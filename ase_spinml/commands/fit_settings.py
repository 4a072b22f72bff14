"""The settings of ``ase-spinml fit``; defaults are those of SOSO, SpinGAP and SpinNN, which a test compares."""

from ase_spinml.commands.kinds import count, integer, integers, number, path, paths, truth, word, words
from ase_spinml.commands.settings import Setting

GAP, NN = ("gap",), ("nn",)

FILES = (
    Setting("frames", paths, None, "frames to learn from, any format that ase-spinml convert reads"),
    Setting("output", path, None, "file of the model; NAME.yaml beside it holds every setting", short="-o"),
    Setting("test", paths, None, "frames to test the model on"),
    Setting("holdout", number, None, "share of the frames to hold out for a test, chosen by the seed"),
    Setting("seed", count, 0, "seed of everything that is left to chance"),
    Setting("model", word, "gap", "kind of model", choices=("gap", "nn")),
)
DESCRIPTOR = (
    Setting("species", words, None, "elements (default: those of the frames)"),
    Setting("magnetic", words, None, "elements whose moments count (default: all that have moments)"),
    Setting("cutoff", number, 5.0, "range in Angstrom"),
    Setting("n_max", integer, 8, "radial functions of pairs"),
    Setting("spin_l_max", integer, 3, "highest power of e_i.e_j in pairs"),
    Setting("body_order", integer, 3, "2: pairs, 3: pairs and angles", choices=(2, 3)),
    Setting("n_max_angular", integer, 5, "radial functions of angles"),
    Setting("l_max", integer, 4, "highest angular momentum of angles"),
    Setting("spin_l_max_angular", integer, 1, "highest power of e_i.e_j in angles"),
    Setting("spin_orbit", truth, False, "features for spin-orbit coupling"),
    Setting("chirality", truth, False, "features e_i.(e_j x e_k), odd under time reversal", only=NN),
    Setting("width", number, 0.5, "Gaussian width of an atom in Angstrom"),
    Setting("spin_smearing", word, "heat", "smearing of spins", choices=("heat", "von-mises-fisher")),
    Setting("spin_width", number, 0.5, "width of a spin in radian"),
)
SIGMAS = (
    Setting("sigma_energy", number, 1e-3, "standard deviation of energies in eV/atom"),
    Setting("sigma_forces", number, 0.05, "of forces in eV/A"),
    Setting("sigma_stress", number, 1e-3, "of stresses in eV/A^3"),
    Setting("sigma_field", number, 5e-3, "of exchange fields in eV/mu_B"),
)
KERNEL = (
    Setting("n_sparse", integer, 300, "sparse points per species and block", only=GAP),
    Setting("zeta", integer, 2, "power of the kernel; 1 is the linear model", only=GAP),
    Setting("kernel", word, "polynomial", "kernel of the highest body order", choices=("polynomial", "rbf"), only=GAP),
    Setting("length_scale", number, 1.0, "of the rbf kernel", only=GAP),
    Setting("selection", word, "fps", "how sparse points are chosen", choices=("fps", "cur"), only=GAP),
    Setting(
        "optimize",
        word,
        "cross-validation",
        "how prior amplitudes are found",
        choices=("cross-validation", "evidence", "none"),
        only=GAP,
    ),
    Setting("fit_sigmas", truth, False, "with evidence, also scale the sigmas", only=GAP),
)
NETWORK = (
    Setting("hidden", integers, [64, 64], "widths of the hidden layers", only=NN),
    Setting(
        "head", word, "conservative", "what it gives", choices=("conservative", "global", "site", "direct"), only=NN
    ),
    Setting("n_members", integer, 1, "networks whose mean is the prediction", only=NN),
    Setting("epochs", integer, 200, "passes over the frames", only=NN),
    Setting("learning_rate", number, 2e-3, "of Adam at the start", only=NN),
    Setting("batch_frames", integer, 4, "frames of one step", only=NN),
    Setting("validation", number, 0.1, "share of frames that chooses the best epoch", only=NN),
    Setting("patience", integer, 100, "epochs without a better loss after which to stop", only=NN),
    Setting("max_inputs", integer, 256, "principal components that a network sees", only=NN),
    Setting("parity", word, None, "under time reversal", choices=("equilibrium", "driven"), only=NN),
    Setting("device", word, "cpu", "where networks are trained, cpu or cuda", only=NN),
    Setting("dtype", word, "float64", "precision of the training", choices=("float64", "float32"), only=NN),
)
SETTINGS = (*FILES, *DESCRIPTOR, *SIGMAS, *KERNEL, *NETWORK)


def unfitted(values):
    """The model that a dict of resolved settings describes, not yet fitted."""
    from ase_spinml.descriptors.soso import SOSO
    from ase_spinml.models.gap import SpinGAP
    from ase_spinml.models.nn import SpinNN

    def taken(settings):
        return {setting.name: values[setting.name] for setting in settings if setting.name in values}

    descriptor = SOSO(**taken(DESCRIPTOR))
    if values["model"] == "nn":
        return SpinNN(descriptor, rng=values["seed"], **taken(SIGMAS), **taken(NETWORK))
    options = taken(KERNEL)
    options["optimize"] = None if options["optimize"] == "none" else options["optimize"]
    return SpinGAP(descriptor, rng=values["seed"], **taken(SIGMAS), **options)
