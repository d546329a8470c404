"""Texts to vectors: a Flax sentence encoder, any other source behind one protocol, and a cache."""

from .cache import EmbeddingCache
from .compilation import keep_compiled
from .encoder import Encoder
from .errors import ModelError
from .given import GivenVectors
from .load import load_encoder
from .model.prompts import Prompts
from .prompted import Prompted
from .protocol import Embedder
from .static import StaticEncoder
from .stream import Embedded, embed_texts
from .tuning.allocation import keep_freed_memory
from .tuning.classifier import FineTuned, finetune

__all__ = [
    "Embedded",
    "Embedder",
    "EmbeddingCache",
    "Encoder",
    "FineTuned",
    "GivenVectors",
    "ModelError",
    "Prompted",
    "Prompts",
    "StaticEncoder",
    "embed_texts",
    "finetune",
    "keep_compiled",
    "keep_freed_memory",
    "load_encoder",
]
