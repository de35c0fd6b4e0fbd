package import Attention

extension Transformer {
    /// Returns the logits after one more token of each of a few sequences, if the model is one that ``DecoderStep`` takes;
    /// else does nothing and returns `nil`.
    package func stepLogits(after embeddings: Tensor, state: inout TransformerState) -> Tensor? {
        guard
            embeddings.shape[1] == 1, embeddings.shape[0] <= DecoderStep.maximumSequenceCount,
            configuration.problem(forLength: (state.lengths.max() ?? 0) + 1) == nil, let step = decoderStep
        else { return nil }
        return step.logits(after: embeddings, caches: &state.caches)
    }

    /// The model's weights as a step takes them.
    private var decoderStep: DecoderStep? {
        guard case .rotary(let rotary) = configuration.positions, !configuration.scalesEmbedding, embeddingNorm == nil,
            let finalNorm = stack.finalNorm?.withoutBias
        else { return nil }
        var steps: [DecoderStep.Layer] = []
        steps.reserveCapacity(layers.count)
        for layer in layers {
            guard let step = layer.step else { return nil }
            steps.append(step)
        }
        return DecoderStep(
            layers: steps, finalNorm: finalNorm, output: outputWeight, headCount: configuration.headCount,
            keyValueHeadCount: configuration.keyValueHeadCount, rotary: rotary)
    }
}

extension TransformerLayer {
    fileprivate var step: DecoderStep.Layer? {
        guard normPlacement == .before, crossAttention == nil, attention.similarity.kind == .scaledDot,
            let attentionNorm = attentionNorm.withoutBias, let feedForwardNorm = feedForwardNorm.withoutBias,
            feedForward.kind == .swiGLU, let gate = feedForward.gate,
            [attention.query, attention.key, attention.value, attention.output, gate, feedForward.up, feedForward.down]
                .allSatisfy({ $0.bias == nil })
        else { return nil }
        return DecoderStep.Layer(
            attentionNorm: attentionNorm, query: attention.query.weight, key: attention.key.weight,
            value: attention.value.weight, output: attention.output.weight, feedForwardNorm: feedForwardNorm,
            gate: gate.weight, up: feedForward.up.weight, down: feedForward.down.weight)
    }
}

extension Norm {
    fileprivate var withoutBias: DecoderStep.RMSNorm? {
        guard case .rms(let epsilon) = kind, bias == nil else { return nil }
        return DecoderStep.RMSNorm(weight: weight, epsilon: epsilon)
    }
}
