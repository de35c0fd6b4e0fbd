public import Attention

/// An encoder prepared to read sequences of any lengths at once, without padding: its weights are packed once.
///
/// A sequence's vectors have the same bits whatever sequences are read beside it.
public struct SequenceEncoder: Sendable {
    /// The model.
    public let transformer: Transformer
    /// What products multiply: float32, or bfloat16, to which activations are rounded as well.
    public let elementType: ElementType
    /// The layers, where they are in the manner of BERT; others go operation by operation.
    private let pass: EncoderPass?

    /// Prepares an encoder.
    ///
    /// - Parameters:
    ///   - transformer: A model without an encoder of its own in front.
    ///   - elementType: What products multiply: float32 or bfloat16. Sums, norms and the residual stream are float32 either
    ///     way. A model that is not in the manner of BERT has its weights stored so, and its activations are float32.
    public init(_ transformer: Transformer, elementType: ElementType = .float32) {
        require(
            [.float32, .bfloat16].contains(elementType),
            "An encoder computes with float32 or bfloat16, not \(elementType).")
        require(!transformer.configuration.hasEncoder, "An encoder–decoder reads a source, and is no encoder.")
        pass = transformer.encoderPass(elementType)
        self.transformer =
            pass == nil && elementType == .bfloat16 ? transformer.storingWeights(as: elementType) : transformer
        self.elementType = elementType
    }

    /// Returns a vector for each token: the residual stream after the last layer and its norm.
    ///
    /// - Parameter sequences: Tokens, each from 0 to less than the vocabulary's size; sequences of one length are best
    ///   neighbours.
    /// - Returns: `[N, M]`, the sequences' vectors one after the other.
    public func callAsFunction(_ sequences: [[Int]]) -> Tensor {
        let width = transformer.configuration.modelDimension
        let lengths = sequences.map(\.count)
        let tokens = sequences.flatMap { $0 }
        guard let pass else { return encodedByLength(sequences) }
        if let problem = transformer.configuration.problem(forLength: lengths.max() ?? 0) { stop(problem) }
        // As a batch of one sequence, whose positions begin anew with each text.
        var stream = transformer.embed([tokens]).reshaped(to: [tokens.count, width])
        if let positions = transformer.positionEmbedding {
            stream = stream + embedding(weight: positions, indices: lengths.flatMap { Array(0..<$0) })
        }
        if let norm = transformer.embeddingNorm { stream = norm(stream) }
        return pass(stream, lengths: lengths)
    }

    /// As ``callAsFunction(_:)``, operation by operation: sequences of one length that stand side by side are a batch.
    private func encodedByLength(_ sequences: [[Int]]) -> Tensor {
        let width = transformer.configuration.modelDimension
        var parts = [Tensor(zeros: [0, width])]
        var start = 0
        while start < sequences.count {
            let length = sequences[start].count
            let end = sequences[start...].firstIndex { $0.count != length } ?? sequences.count
            if length > 0 {
                parts.append(
                    transformer.hiddenStates(of: transformer.embed(Array(sequences[start..<end])))
                        .reshaped(to: [(end - start) * length, width]))
            }
            start = end
        }
        return Tensor.concatenated(parts, axis: 0)
    }
}

extension Transformer {
    /// The layers as ``EncoderPass`` takes them, if they are in the manner of BERT.
    fileprivate func encoderPass(_ elementType: ElementType) -> EncoderPass? {
        guard !configuration.isCausal, !configuration.scalesEmbedding, stack.finalNorm == nil,
            configuration.positions == .learned || configuration.positions == .none,
            configuration.keyValueHeadCount == configuration.headCount,
            configuration.headCount * configuration.headDimension == configuration.modelDimension
        else { return nil }
        let activation: EncoderPass.Activation
        switch configuration.feedForward {
        case .relu: activation = .relu
        case .gelu: activation = .gelu
        case .geluTanh: activation = .geluTanh
        case .swiGLU: return nil
        }
        var packed: [EncoderPass.Layer] = []
        for layer in layers {
            guard let layer = layer.encoderLayer(elementType) else { return nil }
            packed.append(layer)
        }
        return EncoderPass(
            layers: packed, headCount: configuration.headCount, activation: activation, elementType: elementType)
    }
}

extension TransformerLayer {
    fileprivate func encoderLayer(_ elementType: ElementType) -> EncoderPass.Layer? {
        guard normPlacement == .after, crossAttention == nil, attention.similarity.kind == .scaledDot,
            let attentionNorm = attentionNorm.withBias, let feedForwardNorm = feedForwardNorm.withBias,
            let query = attention.query.withBias, let key = attention.key.withBias,
            let value = attention.value.withBias, let output = attention.output.withBias,
            let up = feedForward.up.withBias, let down = feedForward.down.withBias
        else { return nil }
        return EncoderPass.Layer(
            projections: [query, key, value], output: output, attentionNorm: attentionNorm, up: up, down: down,
            feedForwardNorm: feedForwardNorm, elementType: elementType)
    }
}

extension Norm {
    fileprivate var withBias: EncoderPass.Norm? {
        guard case .layer(let epsilon) = kind, let bias, weight.elementType == .float32, bias.elementType == .float32
        else { return nil }
        return EncoderPass.Norm(weight: weight, bias: bias, epsilon: epsilon)
    }
}

extension Projection {
    fileprivate var withBias: EncoderPass.Linear? {
        guard let bias, weight.tensor?.elementType != .float64 else { return nil }
        return (weight, bias)
    }
}
