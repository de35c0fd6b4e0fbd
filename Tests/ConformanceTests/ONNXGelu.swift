import Attention
import ModelFiles

extension ONNXOperator {
    /// ONNX's `Gelu`, opset 20.
    static let gelu = ONNXOperator(since: 20, attributes: ["approximate"], inputCount: 1, outputCount: 1) {
        node in
        let x = try node.requiredInput(0)
        switch node.attributes["approximate"] {
        case nil, .string("none")?: return [Attention.gelu(x)]
        case .string("tanh")?: return [geluTanh(x)]
        case let other?: throw ConformanceProblem("Gelu is not approximated by \(other).")
        }
    }
}
