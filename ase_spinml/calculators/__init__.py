"""ASE calculators that know exchange fields."""
