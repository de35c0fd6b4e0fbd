import Attention
import TestSupport
import Testing

@Suite struct `Distances` {
    /// Queries and keys where `2 q·k - ‖q‖² - ‖k‖²` would cancel: far from 0, nearly the same, the same, in clusters.
    private func operands(_ kind: String, _ random: inout SeededGenerator) -> (queries: Tensor, keys: Tensor) {
        let (queries, keys) = (random.operand([1, 2, 37, 19]), random.operand([1, 2, 150, 19]))
        func moved(_ tensor: Tensor, _ offset: (Int) -> Float, by size: Float = 1) -> Tensor {
            let numbers = tensor.floats.enumerated().map { $1 * size + offset($0 / 19) }
            return Tensor(numbers, shape: tensor.shape)
        }
        switch kind {
        case "offset": return (moved(queries) { _ in 3000 }, moved(keys) { _ in 3000 })
        case "duplicates": return (moved(queries, { _ in 1 }, by: 1e-5), moved(keys, { _ in 1 }, by: 1e-5))
        case "clusters":
            return (moved(queries, { Float($0 % 3) * 500 }), moved(keys, { Float($0 % 3) * 500 }))
        case "huge": return (moved(queries) { _ in 1e19 }, moved(keys) { _ in 1e19 })
        default: return (keys.slice(axis: 2, range: 5..<42).contiguous(), keys)
        }
    }

    @Test(
        arguments: ["offset", "duplicates", "clusters", "huge", "same"],
        [false, true])
    func `contract 6: of vectors that are close compared with their norms have the digits of a plain loop`(
        kind: String, isCausal: Bool
    ) {
        var random = SeededGenerator(seed: 81)
        let (queries, keys) = operands(kind, &random)
        let values = random.operand([1, 2, 150, 7])
        for measure: any Similarity in [Euclidean(scale: 0.3), Gaussian(bandwidth: 2), Laplacian(bandwidth: 3)] {
            let operation = AttentionOperation(similarity: measure, mask: isCausal ? .causal(offset: 100) : .none)
            expectAgreement(operation, queries: queries, keys: keys, values: values, "\(measure)")
        }
    }

    @Test(arguments: ["offset", "clusters", "same"])
    func `have gradients to 1e-5 of the largest there too`(kind: String) {
        var random = SeededGenerator(seed: 82)
        let (queries, keys) = operands(kind, &random)
        let (values, seed) = (random.operand([1, 2, 150, 7]), random.operand([1, 2, 37, 7]))
        for measure: any Similarity in [Euclidean(scale: 0.3), Laplacian(bandwidth: 3)] {
            func gradients(as type: ElementType) -> [Tensor] {
                let inputs = [queries, keys, values].map { $0.converted(to: type).tracked() }
                let output = AttentionOperation(similarity: measure)(
                    queries: inputs[0], keys: inputs[1], values: inputs[2])
                return output.gradients(of: inputs, seed: seed.converted(to: type))
            }
            for (narrow, wide) in zip(gradients(as: .float32), gradients(as: .float64)) {
                expectNear(narrow, wide.doubles, within: 1e-5, "\(measure)")
            }
        }
    }
}
