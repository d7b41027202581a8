# SPDX-License-Identifier: Apache-2.0
"""Export of a trained model in the HF layout, and loading it back."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .llama import Config, Llama


def export(model: Llama, out: Path) -> None:
    """Writes model.safetensors in BF16, config.json and generation_config.json."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = {"model." + name: value.detach().to(torch.bfloat16).contiguous()
               for name, value in model.state_dict().items()}
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(model.cfg.to_hf(), indent=2) + "\n")
    generation = {"bos_token_id": 0, "eos_token_id": 0, "do_sample": False}
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def load(path: Path) -> Llama:
    """The exported model, computing in f32 with its BF16 values."""
    config = json.loads((path / "config.json").read_text())
    fields = {name: config[name] for name in Config.__dataclass_fields__}
    model = Llama(Config(**fields))
    tensors = load_file(str(path / "model.safetensors"))
    model.load_state_dict({name.removeprefix("model."): t.float() for name, t in tensors.items()})
    return model.eval()
