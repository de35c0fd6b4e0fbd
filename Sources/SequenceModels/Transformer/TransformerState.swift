internal import Attention

/// What a Transformer has read so far: the keys and values of each layer, and those of what its encoder read.
public struct TransformerState: Sendable {
    var caches: [KeyValueCache]
    /// By layer, `[B, G, T, D]`; empty where there is no encoder.
    var memoryKeysAndValues: [(keys: Tensor, values: Tensor)] = []
    var memoryMask = AttentionMask.none

    /// How many tokens each sequence has.
    public var lengths: [Int] { caches.first?.nextPositions ?? [] }
}
