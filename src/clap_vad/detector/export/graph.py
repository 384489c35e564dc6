"""Write ONNX graphs in the style of numpy: values with operators, and two kinds of loops that bound memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

__all__ = ["IR_VERSION", "OPSET", "Graph", "Value", "cut"]

OPSET, IR_VERSION = 18, 8
"""Versions of ONNX 1.13 (2022), so that older runtimes can read the files."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph under construction; numbers in operations with it take its type.

    Attributes:
        graph: the graph.
        name: name in the graph.
        dtype: type of the elements.
    """

    graph: Graph
    name: str
    dtype: np.dtype

    def __add__(self, other: Value | float) -> Value:
        return self.graph.op("Add", self, other)

    def __sub__(self, other: Value | float) -> Value:
        return self.graph.op("Sub", self, other)

    def __mul__(self, other: Value | float) -> Value:
        return self.graph.op("Mul", self, other)

    def __truediv__(self, other: Value | float) -> Value:
        """Integer division rounds towards 0."""
        return self.graph.op("Div", self, other)

    def __and__(self, other: Value) -> Value:
        return self.graph.op("And", self, other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]  # a comparison node, as in numpy
        return self.graph.op("Equal", self, other, dtype=bool)

    def __le__(self, other: Value | float) -> Value:
        return self.graph.op("LessOrEqual", self, other, dtype=bool)

    def __lt__(self, other: Value | float) -> Value:
        return self.graph.op("Less", self, other, dtype=bool)

    def to(self, dtype: Any) -> Value:
        """The value converted to another type."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.graph.op("Cast", self, to=kind, dtype=dtype)

    def shape(self, *axes: int) -> Value:
        """Sizes along these axes, (n,) int64."""
        return self.graph.op("Gather", self.graph.op("Shape", self, dtype=np.int64), list(axes), axis=0)

    def part(self, start: Value | int, stop: Value | int, axis: int = 0) -> Value:
        """``self[start:stop]`` along an axis; bounds are integers or (1,) int64."""
        bounds = (bound if isinstance(bound, Value) else [bound] for bound in (start, stop))
        return self.graph.op("Slice", self, *bounds, [axis])

    def columns(self, at: np.ndarray) -> Value:
        """``self[:, at]``."""
        return self.graph.op("Gather", self, at.astype(np.int64), axis=1)

    def sum(self, axis: int) -> Value:
        return self.graph.op("ReduceSum", self, [axis], keepdims=0)

    def max(self, axis: int, keepdims: int = 0) -> Value:
        """Maximum along an axis; the result for NaN depends on the runtime."""
        return self.graph.op("ReduceMax", self, [axis], keepdims=keepdims)


class Graph:
    """A graph under construction, with all constants at its root.

    >>> import onnxruntime
    >>> graph = Graph()
    >>> x = graph.input("x", np.float32, ["n"])
    >>> _ = graph.output("twice", x * 2, ["n"])
    >>> file = graph.model("twice", {}).SerializeToString()
    >>> onnxruntime.InferenceSession(file).run(None, {"x": np.float32([1, 2])})[0].tolist()
    [2.0, 4.0]
    """

    def __init__(self) -> None:
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._constants: list[TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._frames: list[list[NodeProto]] = [[]]  # nodes of the graph, and of the open loop bodies
        self._count = 0

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> Value:
        """Add an input; a name in the shape means a free size."""
        self._inputs.append(_info(name, dtype, shape))
        return Value(self, name, np.dtype(dtype))

    def output(self, name: str, value: Value, shape: Sequence[int | str]) -> Value:
        """Make a value an output; returns it under that name, at which the graph can be cut."""
        named = self.op("Identity", value, name=name)
        self._outputs.append(_info(name, value.dtype, shape))
        return named

    def constant(self, value: Any, dtype: Any = None) -> Value:
        """A constant; equal constants are stored once."""
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))  # keeps 0 dimensions
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = self._name("constant")
            self._constants.append(numpy_helper.from_array(array, name))
            self._known[key] = Value(self, name, array.dtype)
        return self._known[key]

    def op(self, kind: str, *inputs: Any, dtype: Any = None, name: str | None = None, **attributes: Any) -> Value:
        """An operator's first output.

        Args:
            kind: the operator.
            inputs: values, arrays, lists of integers, or numbers, which take the first value's type.
            dtype: type of the output; None for the type of the first value.
            name: name of the output.
            attributes: attributes of the operator.
        """
        return self._node(kind, inputs, [dtype], [name], attributes)[0]

    def where(self, condition: Value, value: Value, other: float) -> Value:
        """``value`` where the condition holds, otherwise ``other``."""
        return self.op("Where", condition, value, self.constant(other, value.dtype), dtype=value.dtype)

    def first(self, kind: str, *inputs: Any, outputs: int, **attributes: Any) -> Value:
        """The first of several outputs."""
        return self._node(kind, inputs, [None] * outputs, [None] * outputs, attributes)[0]

    def loop(
        self, count: Value, states: Sequence[Value], step: Callable[[Value, list[Value]], Sequence[Value]]
    ) -> list[Value]:
        """The states after ``count`` (() int64) steps, each ``states = step(number, states)``, numbers from 0."""
        number, going = Value(self, self._name("number"), np.dtype(np.int64)), self._name("going")
        held = [Value(self, self._name("state"), state.dtype) for state in states]
        self._frames.append([])
        results = list(step(number, held))
        on = self.op("Identity", Value(self, going, np.dtype(bool)))
        scalars = [_info(number.name, np.int64, []), _info(going, bool, [])]
        body = helper.make_graph(
            self._frames.pop(),
            self._name("body"),
            [*scalars, *(_info(value.name, value.dtype, None) for value in held)],
            [_info(on.name, bool, []), *(_info(value.name, value.dtype, None) for value in results)],
        )
        dtypes, names = [state.dtype for state in states], [None] * len(states)
        return self._node("Loop", [count, np.bool_(True), *states], dtypes, names, {"body": body})

    def each(self, rows: Value, step: Callable[[Value], Value]) -> Value:
        """Apply ``step`` to every part along the first axis and stack the results."""
        part = Value(self, self._name("part"), rows.dtype)
        self._frames.append([])
        result = step(part)
        body = helper.make_graph(
            self._frames.pop(),
            self._name("body"),
            [_info(part.name, part.dtype, None)],
            [_info(result.name, result.dtype, None)],
        )
        return self.op("Scan", rows, dtype=result.dtype, body=body, num_scan_inputs=1)

    def model(self, name: str, metadata: Mapping[str, str]) -> ModelProto:
        """The finished model; equal graphs give equal bytes."""
        graph = helper.make_graph(self._frames[0], name, self._inputs, self._outputs, self._constants)
        return _model(graph, metadata)

    def _node(
        self,
        kind: str,
        inputs: Sequence[Any],
        dtypes: Sequence[Any],
        names: Sequence[str | None],
        attributes: dict[str, Any],
    ) -> list[Value]:
        kinds = [value.dtype for value in inputs if isinstance(value, Value)]
        operands = [
            value
            if isinstance(value, Value)
            else self.constant(value, kinds[0] if type(value) in (int, float) else None)
            for value in inputs
        ]
        made = [
            Value(self, name or self._name(kind.lower()), np.dtype(dtype or kinds[0]))
            for dtype, name in zip(dtypes, names, strict=True)
        ]
        self._frames[-1].append(
            helper.make_node(kind, [value.name for value in operands], [value.name for value in made], **attributes)
        )
        return made

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def cut(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """The part of a model from these inputs (or outputs of the model) to these outputs.

    Like ``onnx.utils.extract_model``, but it also supports loops whose bodies use outer values.
    """
    graph, wanted = model.graph, set(outputs)
    nodes = []
    for node in reversed(graph.node):  # nodes are in topological order
        if wanted & (set(node.output) - set(inputs)):
            nodes.append(node)
            wanted |= _uses(node)
    known = {info.name: info for info in (*graph.input, *graph.output)}
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    part = helper.make_graph(
        nodes[::-1], graph.name, [known[name] for name in inputs], [known[name] for name in outputs], constants
    )
    return _model(part, {})


def _uses(node: NodeProto) -> set[str]:
    """Names of all values that a node and its loop bodies use."""
    found = set(node.input)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                found |= _uses(inner)
    return found


def _info(name: str, dtype: Any, shape: Sequence[int | str] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def _model(graph: Any, metadata: Mapping[str, str]) -> ModelProto:
    opset = helper.make_operatorsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="clap-vad")
    helper.set_model_props(model, dict(metadata))
    return model
