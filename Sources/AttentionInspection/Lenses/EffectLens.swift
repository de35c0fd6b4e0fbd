internal import Attention
internal import SequenceModels

/// How much the prediction after the last token changes, in bits, when a segment's input embeddings are replaced by
/// the mean embedding: the Kullback-Leibler divergence of the new prediction from the old one.
///
/// A figure that every architecture has: it asks nothing about the inside of the model.
struct EffectLens {
    /// More tokens than this, over all runs, are left out unless asked for: about 1.4 seconds of two cores.
    static let automaticTokenLimit = 1024
    /// How many tokens are run at a time, which bounds the memory.
    private static let batchTokenLimit = 1024

    let model: Transformer
    /// `[1, T, M]`.
    let embeddings: Tensor
    /// The prediction with all words in place.
    let logProbabilities: [Double]

    func bits(of segments: [Segment]) throws(InspectionError) -> [Double] {
        let length = embeddings.shape[1]
        let original = embeddings.floats
        let mean = model.embedding.meanRow.floats
        let runs = max(1, Self.batchTokenLimit / max(1, length))
        var bits: [Double] = []
        for first in stride(from: 0, to: segments.count, by: runs) {
            let batch = segments[first..<min(first + runs, segments.count)]
            var elements: [Float] = []
            for segment in batch {
                var changed = original
                for token in segment.tokens {
                    changed.replaceSubrange(token * mean.count..<(token + 1) * mean.count, with: mean)
                }
                elements += changed
            }
            let hidden = model.hiddenStates(of: Tensor(elements, shape: [batch.count, length, mean.count]))
            let logits = model.logits(of: hidden.slice(axis: 1, range: length - 1..<length)).floats
            let size = logProbabilities.count
            for (row, segment) in batch.enumerated() {
                let divergence = divergence(from: logSoftmax(logits[row * size..<(row + 1) * size]))
                guard divergence.isFinite else {
                    throw .notFinite(place: "the prediction without '\(segment.text)'")
                }
                // Rounding can leave it a little below 0.
                bits.append(max(0, divergence))
            }
        }
        return bits
    }

    /// Σ p (ln p - ln q), in bits.
    private func divergence(from other: [Double]) -> Double {
        var sum = 0.0
        for (mine, theirs) in zip(logProbabilities, other) { sum += Double.exp(mine) * (mine - theirs) }
        return sum / Double.log(2)
    }
}

/// Returns the logarithms of the softmax, in `Double`.
func logSoftmax(_ logits: some Collection<Float>) -> [Double] {
    let largest = Double(logits.max() ?? 0)
    let sum = logits.reduce(0.0) { $0 + Double.exp(Double($1) - largest) }
    let logSum = largest + Double.log(sum)
    return logits.map { Double($0) - logSum }
}
