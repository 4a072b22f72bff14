"""What states and trajectories show; names are loaded on first use."""

from ase_spinml.lazy import lazy_names

_HOME = {
    "structure_factor": "correlations",
    "correlation": "correlations",
    "domain_size": "correlations",
    "fourier_components": "correlations",
    "dynamic_structure_factor": "dynamic_structure",
    "DynamicStructureFactor": "dynamic_structure",
    "scalar_chirality": "order",
    "vector_chirality": "order",
    "neighbour_products": "order",
    "clusters": "order",
    "exchange_tensors": "exchange",
    "decompose": "exchange",
    "spin_stiffness": "stiffness",
    "exchange_stiffness": "stiffness",
    "mean_field_temperature": "ordering",
    "rpa_temperature": "ordering",
    "magnon_bands": "magnons",
    "topological_charge": "topology",
    "solid_angles": "topology",
    "curl": "curls",
    "CurlReport": "curls",
    "loop_work": "work",
    "labelled_work": "work",
    "cone_loop": "work",
    "quadrature_loop": "work",
    "plane_loop": "work",
    "valve_torques": "valve",
    "curie_temperature": "curie",
    "CurieResult": "curie",
    "thermal_averages": "thermal",
    "ThermalAverages": "thermal",
    "Estimate": "thermal",
    "order_parameter": "thermal",
    "binder_cumulant": "thermal",
    "blocking": "thermal",
    "jackknife": "thermal",
    "autocorrelation_time": "thermal",
    "equilibration": "thermal",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
