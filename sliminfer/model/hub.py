"""Whether a name can be had from the Hub, found out in a moment: transformers itself tries for 24 seconds."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from sliminfer.errors import ModelError

PATIENCE_S = 5.0


def check_on_hub(name: str, file: str = "config.json") -> None:
    """See that `file` of repository `name` is in the cache, or that the Hub is there and knows the repository.

    Paths of this machine, and names that the Hub could not have, are left to whoever reads them.

    Raises:
        ModelError: there is no such repository, or the Hub does not answer within `PATIENCE_S`.
    """
    if Path(name).expanduser().exists() or constants.HF_HUB_OFFLINE:
        return
    try:
        if isinstance(try_to_load_from_cache(name, file), str):
            return
        HfApi().model_info(name, timeout=PATIENCE_S)
    except (HFValidationError, GatedRepoError):  # a gated one is there: its download says what it needs
        return
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no model {name} on the Hub, or it is private: check the name, or set HF_TOKEN to a token that "
            "may read it."
        ) from error
    except HfHubHTTPError:
        return
    except Exception as error:  # of whichever HTTP library it is
        raise ModelError(
            f"No model found at {name!r}, and the Hub cannot be reached: give a folder with config.json and "
            "safetensors, a GGUF file, 'smollm2' or 'demo', or connect to the network."
        ) from error
