internal import Attention

/// How much the target attends to each segment: the mean weight over layers and heads, the sum over a segment's
/// tokens, the mean over the target's (Clark et al., "What Does BERT Look At?", 2019, arXiv:1906.04341, section 4.1).
///
/// The weights are those of the target's tokens, of each layer `[1, H, count, T_k]`.
func attentionShares(_ layers: [Tensor], head: Int?, segments: [Segment]) -> [Double] {
    var shares = [Double](repeating: 0, count: segments.count)
    for all in layers {
        let weights = head.map { all.slice(axis: 1, range: $0..<$0 + 1) } ?? all
        let (headCount, queryCount, keyCount) = (weights.shape[1], weights.shape[2], weights.shape[3])
        let elements = weights.doubles
        for row in 0..<headCount * queryCount {
            for (index, segment) in segments.enumerated() {
                let tokens = segment.tokens.clamped(to: 0..<keyCount)
                let weights = elements[row * keyCount + tokens.lowerBound..<row * keyCount + tokens.upperBound]
                shares[index] += weights.reduce(0, +) / Double(headCount * queryCount * layers.count)
            }
        }
    }
    return shares
}
