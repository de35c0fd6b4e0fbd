public import Attention

/// Layers one after the other, and a norm after the last perhaps: an encoder, or a decoder.
public struct TransformerStack: Layer {
    /// The first first.
    public var layers: [TransformerLayer]
    /// After the last layer; needed where norms stand before the blocks, since nothing else bounds the stream.
    public var finalNorm: Norm?

    /// Creates a stack from its parts.
    ///
    /// - Parameters:
    ///   - layers: The first first.
    ///   - finalNorm: After the last layer.
    public init(layers: [TransformerLayer], finalNorm: Norm? = nil) {
        self.layers = layers
        self.finalNorm = finalNorm
    }

    /// Creates a stack with first weights as GPT-2 has them: normally distributed with deviation 0.02, but for those of
    /// the matrices that add to the residual stream, whose deviation is 0.02 / √N with N of them in the stack.
    ///
    /// Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    ///
    /// - Parameters:
    ///   - configuration: Sizes and choices.
    ///   - layerCount: How many layers; `nil` means the configuration's.
    ///   - attendsToMemory: Whether the layers attend to an encoder's output as well.
    ///   - random: Where the weights come from.
    public init(
        _ configuration: TransformerConfiguration, layerCount: Int? = nil, attendsToMemory: Bool = false,
        random: inout RandomStream
    ) {
        let layerCount = layerCount ?? configuration.layerCount
        let (width, hidden) = (configuration.modelDimension, configuration.feedForwardDimension)
        let deviation = 0.02
        let summands = layerCount * (attendsToMemory ? 3 : 2)
        let residualDeviation = deviation / Double(max(1, summands)).squareRoot()
        let kind = configuration.feedForward
        func norm() -> Norm { Norm(configuration.norm, dimension: width, hasBias: configuration.hasBiases) }
        func attention() -> MultiHeadAttention {
            MultiHeadAttention(
                dimension: width, headCount: configuration.headCount,
                keyValueHeadCount: configuration.keyValueHeadCount, headDimension: configuration.headDimension,
                hasBias: configuration.hasBiases, similarity: configuration.similarity, deviation: deviation,
                outputDeviation: residualDeviation, random: &random)
        }
        func projection(_ inputs: Int, _ outputs: Int, _ deviation: Double) -> Projection {
            Projection(
                inputDimension: inputs, outputDimension: outputs, hasBias: configuration.hasBiases,
                deviation: deviation, random: &random)
        }
        let layers = (0..<layerCount).map { _ in
            TransformerLayer(
                normPlacement: configuration.normPlacement, attentionNorm: norm(), attention: attention(),
                crossAttentionNorm: attendsToMemory ? norm() : nil, crossAttention: attendsToMemory ? attention() : nil,
                feedForwardNorm: norm(),
                feedForward: FeedForward(
                    kind, gate: kind.isGated ? projection(width, hidden, deviation) : nil,
                    up: projection(width, hidden, deviation), down: projection(hidden, width, residualDeviation)),
                dropoutRate: configuration.dropoutRate)
        }
        self.init(layers: layers, finalNorm: configuration.hasFinalNorm ? norm() : nil)
    }

    /// Calls `visit` with the parameters of `layers` and of the `norm` after them.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &layers, "layers", visit)
        try SequenceModels.visitParameters(of: &finalNorm, "norm", visit)
    }

    /// Returns the residual stream after the last layer and its norm.
    ///
    /// - Parameters:
    ///   - x: `[B, T, M]`.
    ///   - memory: What an encoder returned, `[B, T_m, M]`; of layers that attend to it alone.
    ///   - mask: Which tokens a token may see.
    ///   - memoryMask: Which of the memory a token may see.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, M]`.
    public func callAsFunction(
        _ x: Tensor, memory: Tensor? = nil, mask: AttentionMask = .none, memoryMask: AttentionMask = .none,
        dropout: inout RandomStream?
    ) -> Tensor {
        var pass = TransformerPass(mask: mask, memory: memory, memoryMask: memoryMask, dropout: dropout)
        defer { dropout = pass.dropout }
        return run(x, &pass)
    }

    /// Returns the residual stream after the last layer and its norm, outside of training.
    ///
    /// - Parameters:
    ///   - x: `[B, T, M]`.
    ///   - memory: What an encoder returned, `[B, T_m, M]`; of layers that attend to it alone.
    ///   - mask: Which tokens a token may see.
    ///   - memoryMask: Which of the memory a token may see.
    /// - Returns: `[B, T, M]`.
    public func callAsFunction(
        _ x: Tensor, memory: Tensor? = nil, mask: AttentionMask = .none, memoryMask: AttentionMask = .none
    ) -> Tensor {
        var dropout: RandomStream?
        return self(x, memory: memory, mask: mask, memoryMask: memoryMask, dropout: &dropout)
    }

    func run(_ x: Tensor, _ pass: inout TransformerPass) -> Tensor {
        var stream = x
        for (index, layer) in layers.enumerated() {
            pass.layer = index
            stream = layer(stream, &pass)
        }
        return finalNorm.map { $0(stream) } ?? stream
    }
}
