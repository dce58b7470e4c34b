"""Converts a quantized network to the forms that other runtimes read.

`to_tflite` keeps every integer weight, bias, scale and zero point of an ONNX
QDQ model (unsigned activations become signed ones, shifted by 128).
One thing differs: TFLite has no padding of one on both sides for a stride of
two, so SAME is used, which pads at the end only. That changes the numbers a
little but not the work, and is cheaper than a PAD operation.

`to_float` drops the quantizers of activations and dequantizes the weights.

`to_integer` makes a QLinearConv of each convolution, with weights shifted to
unsigned ones: that is the form of ONNX Runtime's integer kernels that does not
saturate on any processor.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Graph:
    def __init__(self, path):
        self.model = onnx.load(path)
        graph = self.model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.makers = {o: n for n in graph.node for o in n.output}

    def attributes(self, node):
        return {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def dequantized(self, name):
        """Integers, scale and zero point of a dequantized constant."""
        node = self.makers[name]
        assert node.op_type == "DequantizeLinear", node.op_type
        return [self.constants[i] for i in node.input]


def to_float(path):
    """An f32 ONNX model, serialized."""
    graph = Graph(path)
    nodes, constants, renamed = [], [], {}
    name = lambda n: renamed.get(n, n)
    for node in graph.model.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = (graph.constants[i] for i in node.input[1:])
            x = name(node.input[0])
            if int(zero.ravel()[0]) == 0:
                # The activation that the quantizer's saturation replaces.
                low, high = f"{node.name}_low", f"{node.name}_high"
                constants.append(numpy_helper.from_array(np.float32(0), low))
                constants.append(numpy_helper.from_array(np.float32(255 * scale.ravel()[0]), high))
                clipped = f"{node.name}_clipped"
                nodes.append(helper.make_node("Clip", [x, low, high], [clipped]))
                x = clipped
            renamed[node.output[0]] = x
        elif node.op_type == "DequantizeLinear":
            if node.input[0] in graph.constants:
                q, scale, zero = graph.dequantized(node.output[0])
                shape = [-1] + [1] * (q.ndim - 1)
                value = (q.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)
                constants.append(numpy_helper.from_array(value.astype(np.float32), node.output[0]))
            else:
                renamed[node.output[0]] = name(node.input[0])
        else:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for index, i in enumerate(copy.input):
                copy.input[index] = name(i)
                if i in graph.constants:
                    constants.append(numpy_helper.from_array(graph.constants[i], i))
            nodes.append(copy)
    g = graph.model.graph
    (output,) = g.output
    if name(output.name) != output.name:
        nodes.append(helper.make_node("Identity", [name(output.name)], [output.name]))
    made = helper.make_graph(nodes, "float", g.input, g.output, constants)
    model = helper.make_model(made, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def to_integer(path):
    """An ONNX model of QLinearConv, serialized; the other layers stay in f32."""
    graph = Graph(path)
    nodes, extra = [], []
    for node in graph.model.graph.node:
        layer = graph.makers.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if node.op_type == "Conv":
            continue
        if layer is None or layer.op_type != "Conv":
            nodes.append(node)
            continue
        x = graph.makers[layer.input[0]]
        weights, scale, zero = graph.dequantized(layer.input[1])
        assert not zero.any()
        shifted, zeros = f"{layer.input[1]}_shifted", f"{layer.input[1]}_zeros"
        extra.append(numpy_helper.from_array((weights.astype(np.int16) + 128).astype(np.uint8), shifted))
        extra.append(numpy_helper.from_array(np.full(len(weights), 128, np.uint8), zeros))
        # Scales and zero points of activations must be scalars here.
        scalars = []
        for i in [*x.input[1:], *node.input[1:]]:
            scalars.append(f"{node.name}_{len(scalars)}")
            extra.append(numpy_helper.from_array(graph.constants[i].reshape(()), scalars[-1]))
        bias = graph.makers[layer.input[2]].input[0]
        inputs = [x.input[0], *scalars[:2], shifted, graph.makers[layer.input[1]].input[1], zeros, *scalars[2:], bias]
        made = helper.make_node("QLinearConv", inputs, node.output, layer.name)
        made.attribute.extend(layer.attribute)
        nodes.append(made)
    g = graph.model.graph
    made = helper.make_graph(nodes, "integer", g.input, g.output, [*g.initializer, *extra])
    model = helper.make_model(made, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def to_tflite(path):
    """A TFLite model with signed 8-bit activations, serialized."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as tfl

    graph = Graph(path)
    tensors, buffers, operators, codes = [], [tfl.BufferT()], [], []

    def code(builtin, version):
        if builtin not in codes:
            codes.append(builtin)
            entry = tfl.OperatorCodeT()
            entry.builtinCode = builtin
            entry.deprecatedBuiltinCode = min(builtin, 127)
            entry.version = version
            op_codes.append(entry)
        return codes.index(builtin)

    op_codes = []

    def tensor(name, shape, kind, scale=None, zero=None, axis=0, data=None):
        t = tfl.TensorT()
        t.name, t.shape, t.type, t.buffer = name, list(shape), kind, 0
        if data is not None:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            buffers.append(buffer)
            t.buffer = len(buffers) - 1
        if scale is not None:
            q = tfl.QuantizationParametersT()
            q.scale = [float(s) for s in np.ravel(scale)]
            q.zeroPoint = [int(z) for z in np.ravel(zero)]
            q.quantizedDimension = axis
            t.quantization = q
        tensors.append(t)
        return len(tensors) - 1

    def operator(builtin, inputs, output, options_type=0, options=None, version=1):
        op = tfl.OperatorT()
        op.opcodeIndex = code(builtin, version)
        op.inputs, op.outputs = list(inputs), [output]
        op.builtinOptionsType, op.builtinOptions = options_type, options
        operators.append(op)

    B, I8, I32, F32 = tfl.BuiltinOperator, tfl.TensorType.INT8, tfl.TensorType.INT32, tfl.TensorType.FLOAT32
    (graph_input,) = graph.model.graph.input
    _, channels, height, width = [d.dim_value for d in graph_input.type.tensor_type.shape.dim]
    source = tensor("input", [1, height, width, channels], F32)
    at = {}  # quantized or dequantized name -> (tensor, shape)

    for node in graph.model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in at:
            at[node.output[0]] = at[node.input[0]]
        elif node.op_type == "Flatten":
            at[node.output[0]] = at[node.input[0]]
        if node.op_type != "QuantizeLinear":
            continue
        scale, zero = (graph.constants[i].ravel() for i in node.input[1:])
        quantization = dict(scale=scale, zero=zero.astype(int) - 128)
        if node.input[0] == graph_input.name:
            shape = [1, height, width, channels]
            out = tensor(node.output[0], shape, I8, **quantization)
            operator(B.QUANTIZE, [source], out, tfl.BuiltinOptions.QuantizeOptions, tfl.QuantizeOptionsT())
            at[node.output[0]] = (out, shape)
            continue
        layer = graph.makers[node.input[0]]
        x, (_, h, w, c) = at[layer.input[0]]
        if layer.op_type == "Conv":
            attributes = graph.attributes(layer)
            weights, w_scale, _ = graph.dequantized(layer.input[1])
            bias, b_scale, _ = graph.dequantized(layer.input[2])
            outputs, kernel, stride = len(weights), weights.shape[2], attributes.get("strides", [1, 1])[0]
            shape = [1, -(-h // stride), -(-w // stride), outputs]
            depthwise = attributes.get("group", 1) > 1
            # From output, input, row, column to TFLite's orders.
            packed = weights.transpose(1, 2, 3, 0) if depthwise else weights.transpose(0, 2, 3, 1)
            axis = 3 if depthwise else 0
            zeros = [0] * outputs
            wt = tensor(layer.input[1], packed.shape, I8, w_scale, zeros, axis, packed)
            bt = tensor(layer.input[2], [outputs], I32, b_scale, zeros, 0, bias)
            out = tensor(node.output[0], shape, I8, **quantization)
            if depthwise:
                options, kind = tfl.DepthwiseConv2DOptionsT(), tfl.BuiltinOptions.DepthwiseConv2DOptions
                options.depthMultiplier = 1
            else:
                options, kind = tfl.Conv2DOptionsT(), tfl.BuiltinOptions.Conv2DOptions
            options.padding = tfl.Padding.SAME if kernel > 1 else tfl.Padding.VALID
            options.strideH = options.strideW = stride
            options.dilationHFactor = options.dilationWFactor = 1
            operator(B.DEPTHWISE_CONV_2D if depthwise else B.CONV_2D, [x, wt, bt], out, kind, options, 3)
        elif layer.op_type == "Add":
            shape = [1, h, w, c]
            out = tensor(node.output[0], shape, I8, **quantization)
            options = tfl.AddOptionsT()
            operator(B.ADD, [at[i][0] for i in layer.input], out, tfl.BuiltinOptions.AddOptions, options, 2)
        elif layer.op_type == "GlobalAveragePool":
            shape = [1, 1, 1, c]
            out = tensor(node.output[0], shape, I8, **quantization)
            axes = tensor("axes", [2], I32, data=np.int32([1, 2]))
            options = tfl.ReducerOptionsT()
            options.keepDims = True
            operator(B.MEAN, [x, axes], out, tfl.BuiltinOptions.ReducerOptions, options, 2)
        else:
            raise SystemExit(f"{layer.name}: {layer.op_type} is not converted")
        at[node.output[0]] = (out, shape)

    (graph_output,) = graph.model.graph.output
    last, shape = at[graph_output.name]
    result = tensor("logits", shape, F32)
    operator(B.DEQUANTIZE, [last], result, tfl.BuiltinOptions.DequantizeOptions, tfl.DequantizeOptionsT(), 2)

    subgraph = tfl.SubGraphT()
    subgraph.tensors, subgraph.operators = tensors, operators
    subgraph.inputs, subgraph.outputs, subgraph.name = [source], [result], "main"
    model = tfl.ModelT()
    model.version, model.description = 3, "affectd"
    model.operatorCodes, model.subgraphs, model.buffers = op_codes, [subgraph], buffers
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
