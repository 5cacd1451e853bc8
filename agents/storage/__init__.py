"""Files and folders: locks, settings, JSON Lines."""
