"""A meter around any engine, with a ledger and a budget."""
