"""Search engines over HTTP, compatible with clients of Search-R1, skyrl-gym and gem."""
