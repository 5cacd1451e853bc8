"""The environment as an OpenEnv package."""
