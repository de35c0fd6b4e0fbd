import Attention

extension ONNXOperator {
    /// ONNX's `RotaryEmbedding`, opset 23.
    static let rotaryEmbedding = ONNXOperator(
        since: 23, attributes: ["interleaved", "num_heads", "rotary_embedding_dim"], inputCount: 4,
        outputCount: 1
    ) { node in
        var x = try node.requiredInput(0)
        let isFlat = x.rank == 3
        if isFlat {
            let headCount = try node.integer("num_heads") ?? 0
            guard headCount > 0, x.shape[2] % headCount == 0 else {
                throw ConformanceProblem("\(headCount) heads do not divide \(x.shape).")
            }
            x = x.splittingHeads(headCount)
        }
        let dimension = try node.integer("rotary_embedding_dim") ?? 0
        let pairCount = (dimension == 0 ? x.shape[3] : dimension) / 2
        let angles = [x.shape[0], x.shape[2], pairCount]
        let rotated = rotate(
            x, cosines: try cached(1, node, angles), sines: try cached(2, node, angles),
            layout: try node.flag("interleaved") ? .interleaved : .half)
        return [isFlat ? rotated.mergingHeads() : rotated]
    }

    /// Returns the cosines or sines of each token, `[B, T, P]`: given so, or rows of `[maximum, P]` at the
    /// tokens' positions.
    private static func cached(_ index: Int, _ node: ONNXNode, _ shape: [Int]) throws -> Tensor {
        let cache = try node.requiredInput(index)
        guard let positions = node.input(3) else {
            guard cache.shape == shape else {
                throw ConformanceProblem("Input \(index) is \(cache.shape), not \(shape).")
            }
            return cache
        }
        guard cache.rank == 2, cache.shape[1] == shape[2], positions.shape == Array(shape[..<2]),
            positions.integers.allSatisfy((0..<cache.shape[0]).contains)
        else {
            throw ConformanceProblem(
                "Input \(index) of \(cache.shape) has no \(shape) at the positions given.")
        }
        let rows = cache.doubles
        return Tensor(positions.integers.flatMap { rows[$0 * shape[2]..<($0 + 1) * shape[2]] }, shape: shape)
    }
}
