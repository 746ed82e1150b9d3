"""The only loop: `decode` and `stream`, their results, guidance, the named strategies, and traces."""

from anyorder.decoding.decoder import decode, stream
from anyorder.decoding.guidance import ClassifierFree
from anyorder.decoding.leave_out import LeaveOut
from anyorder.decoding.result import Decoded, Step
from anyorder.decoding.strategies import Strategy

__all__ = ["ClassifierFree", "Decoded", "LeaveOut", "Step", "Strategy", "decode", "stream"]
