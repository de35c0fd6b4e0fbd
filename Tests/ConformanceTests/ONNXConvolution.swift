import Attention
import ModelFiles

extension ONNXOperator {
    /// ONNX's `Conv`, opset 1, over one or two dimensions.
    static let conv = ONNXOperator(
        since: 1, attributes: ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"], inputCount: 3,
        outputCount: 1
    ) { node in
        let (x, weight) = (try node.requiredInput(0), try node.requiredInput(1))
        guard 3...4 ~= x.rank, weight.rank == x.rank else {
            throw ConformanceProblem("Conv of \(x.shape) with \(weight.shape) is not part of the library.")
        }
        let kernelShape = Array(weight.shape[2...])
        if let declared = try node.integers("kernel_shape"), declared != kernelShape {
            throw ConformanceProblem("The kernel shape \(declared) is not that of \(weight.shape).")
        }
        let windows = try windows(node, lengths: Array(x.shape[2...]), kernelShape: kernelShape)
        let groups = try node.integer("group") ?? 1
        guard groups > 0, x.shape[1] == weight.shape[1] * groups, weight.shape[0] % groups == 0 else {
            throw ConformanceProblem("\(weight.shape) in \(groups) groups do not fit \(x.shape).")
        }
        if x.rank == 3 {
            return [conv1d(x, weight: weight, bias: node.input(2), window: windows[0], groups: groups)]
        }
        return [
            conv2d(
                x, weight: weight, bias: node.input(2), vertical: windows[0], horizontal: windows[1], groups: groups)
        ]
    }

    /// ONNX's `CausalConvWithState`, opset 27.
    static let causalConvWithState = ONNXOperator(
        since: 27, attributes: ["activation"], inputCount: 4, outputCount: 2
    ) { node in
        let (x, weight) = (try node.requiredInput(0), try node.requiredInput(1))
        guard x.rank == 3, weight.rank == 3, weight.shape[0] == x.shape[1], weight.shape[1] == 1 else {
            throw ConformanceProblem("The kernels \(weight.shape) do not fit \(x.shape).")
        }
        var state = node.input(3).map { CausalConvolutionState(inputs: $0.transposed(1, 2)) }
        let output = causalConv1d(
            x.transposed(1, 2), weight: weight, bias: node.input(2), groups: x.shape[1], state: &state
        ).transposed(1, 2)
        let present = state?.inputs.transposed(1, 2)
        switch try node.string("activation") ?? "none" {
        case "none": return [output, present]
        case "silu", "swish": return [silu(output), present]
        case let other: throw ConformanceProblem("There is no activation '\(other)'.")
        }
    }

    /// How the kernel moves along each dimension.
    private static func windows(_ node: ONNXNode, lengths: [Int], kernelShape: [Int]) throws -> [ConvolutionWindow] {
        let ones = [Int](repeating: 1, count: lengths.count)
        let (strides, dilations) = (try node.integers("strides") ?? ones, try node.integers("dilations") ?? ones)
        let pads = try node.integers("pads")
        let padding = try node.string("auto_pad") ?? "NOTSET"
        let both = pads ?? ones.map { _ in 0 } + ones.map { _ in 0 }
        guard strides.count == lengths.count, dilations.count == lengths.count, both.count == 2 * lengths.count,
            (strides + dilations).allSatisfy({ $0 > 0 }), both.allSatisfy({ $0 >= 0 }),
            padding == "NOTSET" || both.allSatisfy({ $0 == 0 })
        else {
            throw ConformanceProblem(
                "Strides \(strides), dilations \(dilations), pads \(both), \(padding) make no sense.")
        }
        return try lengths.indices.map { axis in
            func same(_ oddPadding: ConvolutionWindow.OddPadding) -> ConvolutionWindow {
                .same(
                    length: lengths[axis], kernelSize: kernelShape[axis], stride: strides[axis],
                    dilation: dilations[axis], oddPadding: oddPadding)
            }
            switch padding {
            case "NOTSET", "VALID":
                return ConvolutionWindow(
                    stride: strides[axis], dilation: dilations[axis], paddingBefore: both[axis],
                    paddingAfter: both[axis + lengths.count])
            case "SAME_UPPER": return same(.after)
            case "SAME_LOWER": return same(.before)
            default: throw ConformanceProblem("'auto_pad' is '\(padding)', which nobody knows.")
            }
        }
    }
}
