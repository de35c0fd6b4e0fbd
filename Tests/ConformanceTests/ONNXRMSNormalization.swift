import Attention

extension ONNXOperator {
    /// ONNX's `RMSNormalization`, opset 23.
    ///
    /// The mean is summed in `Double`, whatever `stash_type` says.
    static let rmsNormalization = ONNXOperator(
        since: 23, attributes: ["axis", "epsilon", "stash_type"], inputCount: 2, outputCount: 1
    ) { node in
        let x = try node.requiredInput(0)
        let scale = try node.requiredInput(1)
        let axis = try node.axis(of: x)
        let epsilon = try node.number("epsilon") ?? 1e-5
        guard scale.canBroadcast(to: x.shape) else {
            throw ConformanceProblem("\(scale.shape) cannot be broadcast to \(x.shape).")
        }
        if scale.rank <= x.rank - axis { return [rmsNorm(x, weight: scale, axis: axis, epsilon: epsilon)] }
        // ONNX lets the scale vary over the dimensions that are not normalised, too.
        return [rmsNorm(x, weight: one, axis: axis, epsilon: epsilon) * scale]
    }
}
