import Attention

extension ONNXOperator {
    /// ONNX's `LayerNormalization`, opset 17.
    ///
    /// Statistics are summed in `Double`, whatever `stash_type` says.
    static let layerNormalization = ONNXOperator(
        since: 17, attributes: ["axis", "epsilon", "stash_type"], inputCount: 3, outputCount: 3
    ) { node in
        let x = try node.requiredInput(0)
        let scale = try node.requiredInput(1)
        let axis = try node.axis(of: x)
        let epsilon = try node.number("epsilon") ?? 1e-5
        let parameters = [scale, node.input(2)].compactMap { $0 }
        guard parameters.allSatisfy({ $0.canBroadcast(to: x.shape) }) else {
            throw ConformanceProblem("\(parameters.map(\.shape)) cannot be broadcast to \(x.shape).")
        }
        if parameters.allSatisfy({ $0.rank <= x.rank - axis }) {
            let result = layerNormWithStatistics(
                x, weight: scale, bias: node.input(2), axis: axis, epsilon: epsilon)
            return [result.output, result.mean, result.inverseDeviation]
        }
        // ONNX lets scale and bias vary over the dimensions that are not normalised, too.
        let result = layerNormWithStatistics(x, weight: one, bias: nil, axis: axis, epsilon: epsilon)
        let scaled = result.output * scale
        return [node.input(2).map { scaled + $0 } ?? scaled, result.mean, result.inverseDeviation]
    }

    /// A weight that changes nothing.
    static let one = Tensor([Float(1)], shape: [1])
}
