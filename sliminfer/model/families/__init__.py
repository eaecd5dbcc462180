"""The decoder families that the layer loop knows, one file each, and what their configs say."""

from __future__ import annotations

from typing import Any

from sliminfer.model.families.apertus import APERTUS
from sliminfer.model.families.arcee import ARCEE
from sliminfer.model.families.base import Family
from sliminfer.model.families.cohere import COHERE
from sliminfer.model.families.cohere2 import COHERE2
from sliminfer.model.families.cwm import CWM
from sliminfer.model.families.dots1 import DOTS1
from sliminfer.model.families.ernie4_5 import ERNIE4_5
from sliminfer.model.families.ernie4_5_moe import ERNIE4_5_MOE
from sliminfer.model.families.exaone4 import EXAONE4
from sliminfer.model.families.exaone_moe import EXAONE_MOE
from sliminfer.model.families.flex_olmo import FLEX_OLMO
from sliminfer.model.families.gemma import GEMMA
from sliminfer.model.families.gemma2 import GEMMA2
from sliminfer.model.families.gemma3_text import GEMMA3_TEXT
from sliminfer.model.families.gemma4_text import GEMMA4_TEXT
from sliminfer.model.families.glm import GLM
from sliminfer.model.families.glm4 import GLM4
from sliminfer.model.families.glm4_moe import GLM4_MOE
from sliminfer.model.families.gpt_oss import GPT_OSS
from sliminfer.model.families.granite import GRANITE
from sliminfer.model.families.granitemoe import GRANITEMOE
from sliminfer.model.families.granitemoeshared import GRANITEMOESHARED
from sliminfer.model.families.helium import HELIUM
from sliminfer.model.families.hunyuan_v1_dense import HUNYUAN_V1_DENSE
from sliminfer.model.families.hunyuan_v1_moe import HUNYUAN_V1_MOE
from sliminfer.model.families.hy_v3 import HY_V3
from sliminfer.model.families.lfm2 import LFM2
from sliminfer.model.families.lfm2_moe import LFM2_MOE
from sliminfer.model.families.llama import LLAMA
from sliminfer.model.families.minimax_m2 import MINIMAX_M2
from sliminfer.model.families.ministral import MINISTRAL
from sliminfer.model.families.ministral3 import MINISTRAL3
from sliminfer.model.families.mistral import MISTRAL
from sliminfer.model.families.mixtral import MIXTRAL
from sliminfer.model.families.nemotron import NEMOTRON
from sliminfer.model.families.olmo2 import OLMO2
from sliminfer.model.families.olmo3 import OLMO3
from sliminfer.model.families.phi3 import PHI3
from sliminfer.model.families.phimoe import PHIMOE
from sliminfer.model.families.qwen2 import QWEN2
from sliminfer.model.families.qwen2_moe import QWEN2_MOE
from sliminfer.model.families.qwen3 import QWEN3
from sliminfer.model.families.qwen3_5_moe_text import QWEN3_5_MOE_TEXT
from sliminfer.model.families.qwen3_5_text import QWEN3_5_TEXT
from sliminfer.model.families.qwen3_moe import QWEN3_MOE
from sliminfer.model.families.qwen3_next import QWEN3_NEXT
from sliminfer.model.families.seed_oss import SEED_OSS
from sliminfer.model.families.smollm3 import SMOLLM3
from sliminfer.model.families.solar_open import SOLAR_OPEN
from sliminfer.model.families.stablelm import STABLELM
from sliminfer.model.families.starcoder2 import STARCODER2
from sliminfer.model.families.vaultgemma import VAULTGEMMA

_ALL = (
    LLAMA,
    QWEN2,
    QWEN3,
    MISTRAL,
    PHI3,
    ARCEE,
    APERTUS,
    COHERE,
    ERNIE4_5,
    GLM,
    GLM4,
    GRANITE,
    GRANITEMOE,
    HELIUM,
    HUNYUAN_V1_DENSE,
    MIXTRAL,
    NEMOTRON,
    OLMO2,
    PHIMOE,
    QWEN2_MOE,
    QWEN3_MOE,
    SEED_OSS,
    SMOLLM3,
    STABLELM,
    STARCODER2,
    GEMMA,
    GEMMA2,
    GEMMA3_TEXT,
    GEMMA4_TEXT,
    GPT_OSS,
    OLMO3,
    EXAONE4,
    COHERE2,
    MINISTRAL,
    MINISTRAL3,
    GLM4_MOE,
    MINIMAX_M2,
    ERNIE4_5_MOE,
    CWM,
    DOTS1,
    FLEX_OLMO,
    HUNYUAN_V1_MOE,
    VAULTGEMMA,
    GRANITEMOESHARED,
    SOLAR_OPEN,
    HY_V3,
    EXAONE_MOE,
    QWEN3_5_TEXT,
    QWEN3_5_MOE_TEXT,
    QWEN3_NEXT,
    LFM2,
    LFM2_MOE,
)
FAMILIES: dict[str, Family] = {family.model_type: family for family in _ALL}


def text_config(config: Any) -> Any:
    """What a config says of the model that reads text, be it all that there is or a part."""
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def rotary_switch(config: Any) -> int | None:
    """Tokens after which a model with two sets of rotary factors (LongRoPE) takes the other one for all tokens."""
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    return int(parameters["original_max_position_embeddings"])


def rotary_limit(config: Any) -> int | None:
    """Tokens beyond which a model with dynamic rotary factors takes others for every length; None for any other."""
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return int(config.max_position_embeddings) if "dynamic" in str(rope_type) else None


def rotary_varies(config: Any) -> bool:
    """Whether the model's rotary module sets its factors anew by the length of each call, for the whole process."""
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return isinstance(rope_type, str) and ("dynamic" in rope_type or rope_type == "longrope")


def sliding_window(config: Any, layer: int) -> int | None:
    """The sliding window of `layer` in tokens, None for full attention."""
    window: int | None = getattr(config, "sliding_window", None)
    if window is None:
        return None
    types = getattr(config, "layer_types", None)
    return window if types is None or types[layer] == "sliding_attention" else None
