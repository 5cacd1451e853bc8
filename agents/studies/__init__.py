"""Studies of agents: benchmark, noise sweep, counterfactual pages."""
