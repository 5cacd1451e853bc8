"""Search engines over HTTP, in the form that Search-R1, skyrl-gym and gem speak."""
