"""The re-test: which of the paper's claims hold on the embedded world, at a reduced budget."""
