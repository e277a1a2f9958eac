"""`robot`: training-free neural architecture search that is robust: metrics combined by Bayesian optimisation."""
