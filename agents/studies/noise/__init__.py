"""What noise costs an agent: sweeps over noise levels, and pages flipped one at a time."""
