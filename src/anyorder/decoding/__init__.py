"""The only loop: `decode` and `stream`, their results, the named strategies, and traces."""

from anyorder.decoding.decoder import decode, stream
from anyorder.decoding.result import Decoded, Step

__all__ = ["Decoded", "Step", "decode", "stream"]
