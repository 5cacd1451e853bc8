"""The server: `uvicorn server.app:app`. ZEROSEARCH_ENV holds the environment as JSON."""

import json
import os

import uvicorn

from envs_registry.openenv import create_app

app = create_app(json.loads(os.environ.get("ZEROSEARCH_ENV") or '{"id": "ZeroSearch-v0"}'))


def main() -> None:
    """Serve on port 8000."""
    uvicorn.run(app, host="0.0.0.0", port=8000)


if __name__ == "__main__":
    main()
