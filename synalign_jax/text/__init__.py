"""Texts to vectors: a Flax sentence encoder, any other source behind one protocol, and a cache."""

from .cache import EmbeddingCache
from .compilation import keep_compiled
from .encoder import Encoder
from .errors import ModelError
from .given import GivenVectors
from .protocol import Embedder
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
    "embed_texts",
    "finetune",
    "keep_compiled",
    "keep_freed_memory",
]
