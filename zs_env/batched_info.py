"""Many environments' infos as one, in the form that Gymnasium's own vectors give them.

Gymnasium adds environment after environment; here each key is gathered once, which is what a step
of many environments spends least on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def batch_infos(infos: Mapping[int, Mapping[str, Any]], num_envs: int) -> dict[str, Any]:
    """Return one array of `num_envs` values per key, and a mask `_key` of who has the key.

    Numbers and flags are arrays of their type, mappings are batched key by key, and everything
    else, observations too, is an array of objects.

    Args:
        infos: infos by the index of their environment.
        num_envs: environments there are.
    """
    columns: dict[str, dict[int, Any]] = {}
    for index, info in infos.items():
        for key, value in info.items():
            columns.setdefault(key, {})[index] = value
    batch: dict[str, Any] = {}
    for key, column in columns.items():
        first = next(iter(column.values()))
        if isinstance(first, Mapping) and key != "final_obs":
            batch[key] = batch_infos(column, num_envs)
        else:
            batch[key] = _array(column, num_envs)
        mask = np.zeros(num_envs, dtype=np.bool_)
        mask[list(column)] = True
        batch[f"_{key}"] = mask
    return batch


def _array(column: Mapping[int, Any], num_envs: int) -> NDArray[Any]:
    if all(type(value) in (bool, int, float) for value in column.values()):
        values = np.asarray(list(column.values()))
        array = np.zeros(num_envs, dtype=values.dtype)
        array[list(column)] = values
        return array
    array = np.full(num_envs, None, dtype=object)
    for index, value in column.items():
        array[index] = value
    return array
