"""Heat baths as pure functions: the thermal field of the stochastic LLG equation, and Langevin's friction on momenta.

Fluctuation and dissipation for the spins. With the same field H + eta in both terms of

    de/dt = -gamma/(1 + alpha^2) [e x (H + eta) + alpha e x (e x (H + eta))]        (Stratonovich)

the stationary state is exp(-E/kT) if <eta_a(t) eta_b(t')> = 2 D delta_ab delta(t - t') with D = alpha kT/(gamma m):
in the time tau = gamma t/(1 + alpha^2) of the bare Landau-Lifshitz form the field H + eta, in energy per moment, has
D_tau = alpha (kT/m)/(1 + alpha^2), and delta(tau) = delta(t) (1 + alpha^2)/gamma. Constant over a step dt, eta has
the variance 2 D/dt in each component. The moment stands in the denominator: larger moments feel weaker noise, and all
have the same temperature."""

import numpy as np
from ase import units

from ase_spinml.errors import InputError


def thermal_field(lengths, temperature_K, damping, timestep, gyromagnetic_ratio, rng):
    """Random field eta of one step, (N, 3) in eV/mu_B, of variance 2 alpha k_B T/(|gamma| m_i dt) in each component.

    Parameters
    ----------
    lengths : (N,)
        m_i in mu_B, all above zero.
    temperature_K : float
        In K.
    damping : float
        Gilbert's alpha.
    timestep : float
        In ASE time units.
    gyromagnetic_ratio : float
        In 1/(eV ASE time) per mu_B; its sign does not matter.
    rng : numpy.random.Generator
        Drawn from once, for N x 3 normal numbers.
    """
    amplitude = thermal_amplitude(temperature_K, damping, timestep, gyromagnetic_ratio)
    return (amplitude / np.sqrt(lengths))[:, None] * rng.standard_normal((len(lengths), 3))


def thermal_amplitude(temperature_K, damping, timestep, gyromagnetic_ratio):
    """Standard deviation of each component of the thermal field of a moment of 1 mu_B, in eV/mu_B.

    Arguments as in :func:`thermal_field`.
    """
    return np.sqrt(2.0 * damping * units.kB * temperature_K / (abs(gyromagnetic_ratio) * timestep))


def langevin_momenta(momenta, masses, temperature_K, friction, timestep, rng):
    """Exact solution of dp = -friction p dt + sqrt(2 friction m k_B T) dW over one step.

    Parameters
    ----------
    momenta : (N, 3)
        In ASE units.
    masses : (N,)
        In atomic mass units.
    temperature_K : float
        In K.
    friction : float
        In 1/ASE time.
    timestep : float
        In ASE time units.
    rng : numpy.random.Generator
        Drawn from once, for N x 3 normal numbers.

    Returns
    -------
    (N, 3)
        New momenta.
    """
    decay = np.exp(-friction * timestep)
    spread = np.sqrt((1.0 - decay**2) * units.kB * temperature_K * masses)
    return decay * momenta + spread[:, None] * rng.standard_normal(momenta.shape)


def bath_temperature(bath, time):
    """Temperature in K of a bath at a time (ASE units): a number, a function of the time, or None where there is none.

    Raises
    ------
    InputError
        The function gives something else than a number >= 0.
    """
    if not callable(bath):
        return bath
    temperature = float(bath(time))
    if not (np.isfinite(temperature) and temperature >= 0):
        raise InputError(
            f"Expected a temperature >= 0 in K at every time, got {temperature} at {time / units.fs:g} fs: check the "
            f"function of time given as temperature."
        )
    return temperature


def give(bath, energy):
    """Tell a bath that keeps account, one with a method ``give``, that it has given ``energy`` in eV."""
    if hasattr(bath, "give"):
        bath.give(energy)
