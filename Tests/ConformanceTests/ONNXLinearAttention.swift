import Attention

extension ONNXOperator {
    /// ONNX's `LinearAttention`, opset 27.
    static let linearAttention = ONNXOperator(
        since: 27, attributes: ["chunk_size", "kv_num_heads", "q_num_heads", "scale", "update_rule"], inputCount: 6,
        outputCount: 2
    ) { node in
        func heads(_ name: String) throws -> Int {
            guard let count = try node.integer(name), count > 0 else {
                throw ConformanceProblem("'\(name)' is missing, or no number of heads.")
            }
            return count
        }
        let (queryHeads, heads) = (try heads("q_num_heads"), try heads("kv_num_heads"))
        func split(_ x: Tensor, _ count: Int) throws -> Tensor {
            guard x.rank == 3, x.shape[2] % count == 0, queryHeads % heads == 0 else {
                throw ConformanceProblem("\(x.shape) does not split into \(count) heads.")
            }
            return x.splittingHeads(count)
        }
        let rule = try node.string("update_rule") ?? "gated_delta"
        guard ["linear", "gated", "delta", "gated_delta"].contains(rule) else {
            throw ConformanceProblem("There is no update rule '\(rule)'.")
        }
        guard (node.input(4) != nil) == rule.contains("gated"), (node.input(5) != nil) == rule.contains("delta") else {
            throw ConformanceProblem("The rule '\(rule)' has another decay or update rate.")
        }
        let scale = try node.number("scale") ?? 0
        let result = Attention.linearAttention(
            queries: try split(try node.requiredInput(0), queryHeads),
            keys: try split(try node.requiredInput(1), heads),
            values: try split(try node.requiredInput(2), heads), decay: try node.input(4).map { try split($0, heads) },
            updateRate: node.input(5)?.transposed(1, 2), state: node.input(3), scale: scale == 0 ? nil : scale)
        return [result.output.mergingHeads(), result.state]
    }
}
