internal import Attention
internal import SequenceModels

/// How much the prediction after the last token changes, in bits, when a segment's input embeddings are replaced by
/// the mean embedding: the Kullback-Leibler divergence of the new prediction from the old one.
///
/// A figure that every architecture has: it asks nothing about the inside of the model. Of a model that reads a source,
/// the segments are the source's.
struct EffectLens<Model: SequenceModel> {
    /// How many tokens are run at a time, which bounds the memory.
    private static var batchTokenLimit: Int { 1024 }

    let model: Model
    /// `[1, T, M]`: what the segments are parts of.
    let embeddings: Tensor
    /// `[1, T, M]`: what a model that reads the embeddings as a source has written so far; `nil` for others.
    var written: Tensor?
    /// The prediction with all words in place.
    let logProbabilities: [Double]

    func bits(of segments: [Segment]) throws(InspectionError) -> [Double] {
        let length = embeddings.shape[1]
        let original = embeddings.floats
        let mean = (written == nil ? model.meanVector : model.meanSourceVector).floats
        let runs = max(1, Self.batchTokenLimit / max(1, length))
        var bits: [Double] = []
        for first in stride(from: 0, to: segments.count, by: runs) {
            if Task.isCancelled { throw .cancelled }
            let batch = segments[first..<min(first + runs, segments.count)]
            var elements: [Float] = []
            for segment in batch {
                var changed = original
                for token in segment.tokens {
                    changed.replaceSubrange(token * mean.count..<(token + 1) * mean.count, with: mean)
                }
                elements += changed
            }
            let logits = lastLogits(of: Tensor(elements, shape: [batch.count, length, mean.count])).floats
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

    /// Returns the logits after the last token, `[B, 1, V]`.
    private func lastLogits(of changed: Tensor) -> Tensor {
        var dropout: RandomStream?
        let hidden: Tensor
        if let written {
            let repeated = written.expanded(to: [changed.shape[0]] + written.shape.dropFirst())
            hidden = model.hiddenStates(
                of: EmbeddedBatch(repeated), source: EmbeddedBatch(changed), dropout: &dropout)
        } else {
            hidden = model.hiddenStates(of: EmbeddedBatch(changed), source: nil, dropout: &dropout)
        }
        let length = hidden.shape[1]
        return model.logits(of: hidden.slice(axis: 1, range: length - 1..<length))
    }

    /// Σ p (ln p - ln q), in bits.
    private func divergence(from other: [Double]) -> Double {
        var sum = 0.0
        for (mine, theirs) in zip(logProbabilities, other) { sum += Double.exp(mine) * (mine - theirs) }
        return sum / Double.log(2)
    }
}

/// More tokens than this, over all runs of ``EffectLens``, are left out unless asked for: about 1.4 seconds of two cores.
let automaticEffectTokenLimit = 1024

/// Returns the logarithms of the softmax, in `Double`.
func logSoftmax(_ logits: some Collection<Float>) -> [Double] {
    let largest = Double(logits.max() ?? 0)
    let sum = logits.reduce(0.0) { $0 + Double.exp(Double($1) - largest) }
    let logSum = largest + Double.log(sum)
    return logits.map { Double($0) - logSum }
}
