"""Files of tensors: a model's weights as torch writes and reads them."""

import io
from pathlib import Path
from typing import Any

import torch

from cxr.errors import InputError


def write_tensors(content: Any, path: Path) -> None:
    """Write what torch.save takes; a full disk raises OSError (torch's own writer raises an obscure RuntimeError)."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getbuffer())


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint (a plain state dict, or one under `state_dict`; `module.` prefixes are dropped).

    Raises InputError for a file that is not a checkpoint of tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path}: not a readable torch checkpoint of tensors ({type(error).__name__}); give a state dict saved by torch.save"
        ) from None
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {str(key).removeprefix("module."): value for key, value in state.items() if isinstance(value, torch.Tensor)}
