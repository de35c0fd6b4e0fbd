import Attention

extension ONNXOperator {
    /// ONNX's `Softmax`, opset 13: along one dimension.
    static let softmax = ONNXOperator(since: 13, attributes: ["axis"], inputCount: 1, outputCount: 1) {
        node in
        let x = try node.requiredInput(0)
        return [Attention.softmax(x, axis: try node.axis(of: x))]
    }
}
