internal import Attention
internal import SequenceModels

/// How much each segment contributes to what attention adds at the target.
///
/// Per layer and target token the norm of Σ_heads α·v·W_O, summed over the segment's tokens, as a share over the
/// segments; averaged over the target's tokens and the layers. A large weight on a small value counts for little
/// (Kobayashi et al., "Attention is Not Only a Weight", 2020, arXiv:2004.10102, section 3).
///
/// The weights are those of the target's tokens, of each of the layers `[1, H, count, T_k]`.
func contributionShares(
    _ weights: [Tensor], layers: Range<Int>, of pass: Inspection.ForwardPass, head: Int?, segments: [Segment]
) -> [Double] {
    var shares = [Double](repeating: 0, count: segments.count)
    for (index, weights) in zip(layers, weights) {
        for row in 0..<weights.shape[2] {
            let summands = outputSummands(
                pass.trace.layers[index].values, weights: weights.slice(axis: 2, range: row..<row + 1), head: head,
                outputWeight: pass.transformer.layers[index].attention.output.weight)
            let norms = segments.map { segment in
                let tokens = segment.tokens.clamped(to: 0..<summands.shape[0])
                return norm(ofSum: summands.slice(axis: 0, range: tokens))
            }
            let total = norms.reduce(0, +)
            if total == 0 { continue }
            for (segment, norm) in norms.enumerated() {
                shares[segment] += norm / total / Double(weights.shape[2] * layers.count)
            }
        }
    }
    return shares
}

/// What each token adds to the residual stream through attention: Σ_heads α·v·W_O, `[T_k, M]`.
private func outputSummands(
    _ valueTensor: Tensor, weights: Tensor, head: Int?, outputWeight: WeightMatrix
) -> Tensor {
    let (headCount, keyCount, dimension) = (weights.shape[1], weights.shape[3], valueTensor.shape[3])
    let groupSize = headCount / valueTensor.shape[1]
    let alpha = weights.floats
    let values = valueTensor.floats
    var weighted = [Float](repeating: 0, count: keyCount * headCount * dimension)
    for query in 0..<headCount where head == nil || head == query {
        for key in 0..<keyCount {
            let weight = alpha[query * keyCount + key]
            let value = (query / groupSize * keyCount + key) * dimension
            let place = (key * headCount + query) * dimension
            for element in 0..<dimension { weighted[place + element] = weight * values[value + element] }
        }
    }
    return matmul(Tensor(weighted, shape: [keyCount, headCount * dimension]), outputWeight)
}

private func norm(ofSum rows: Tensor) -> Double {
    let width = rows.shape[1]
    var sum = [Double](repeating: 0, count: width)
    for (index, element) in rows.doubles.enumerated() { sum[index % width] += element }
    return sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
}
