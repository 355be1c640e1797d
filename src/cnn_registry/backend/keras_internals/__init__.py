"""All use of Keras, TensorFlow and NumPy beyond their public interfaces.

What is relied on is checked once per process, by what it does and not by a version. Where it does not hold, the caller
does without, one line says so, and training is that of plain Keras.
"""

from .checks import holds
from .cluster import Peers, leave_out_coordination, peers
from .graphs import Call, call_of, calls_of, graph_is_known, has_graph
from .layers import policy_is_settable, setting
from .machine import uses_onednn, vector_instructions
from .models import (
    MODEL_NEEDS,
    all_layers,
    require_shareable_steps,
    take_any_size,
    without_optimizer,
)
from .optimizer_step import count_of, one_operation_step
from .process_state import determinism, seeds
from .replacements import Replacements, is_replaced, methods_are_replaceable
from .variables import handle, move
from .waiting import declared_variables, in_stateless_scope, make_variables, variables_can_wait

__all__ = [
    "MODEL_NEEDS",
    "Call",
    "Peers",
    "Replacements",
    "all_layers",
    "call_of",
    "calls_of",
    "count_of",
    "declared_variables",
    "determinism",
    "graph_is_known",
    "handle",
    "has_graph",
    "holds",
    "in_stateless_scope",
    "is_replaced",
    "leave_out_coordination",
    "make_variables",
    "methods_are_replaceable",
    "move",
    "one_operation_step",
    "peers",
    "policy_is_settable",
    "require_shareable_steps",
    "seeds",
    "setting",
    "take_any_size",
    "uses_onednn",
    "variables_can_wait",
    "vector_instructions",
    "without_optimizer",
]
