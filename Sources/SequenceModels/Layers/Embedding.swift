public import Attention

/// A vector for each token.
public struct Embedding: Layer {
    /// `[V, M]`.
    public var weight: Tensor

    /// Creates a layer from its parameter.
    ///
    /// - Parameter weight: `[V, M]`.
    public init(weight: Tensor) {
        require(weight.rank == 2, "The weight of an embedding is [V, M], not \(weight.shape).")
        self.weight = weight
    }

    /// Creates a layer with normally distributed vectors.
    ///
    /// - Parameters:
    ///   - count: `V`, how many tokens there are.
    ///   - dimension: `M`, the length of a vector.
    ///   - deviation: The standard deviation of an element; 0.1 by default, which trains faster than PyTorch's 1.
    ///   - random: Where the parameter comes from.
    public init(count: Int, dimension: Int, deviation: Double = 0.1, random: inout RandomStream) {
        self.init(weight: random.normal([count, dimension], deviation: deviation))
    }

    /// The mean of all vectors, `[M]`.
    public var meanVector: Tensor { weight.sum(axis: 0) * (1 / Double(max(1, weight.shape[0]))) }

    /// Calls `visit` with `weight`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("weight", &weight)
    }

    /// Returns the vectors of tokens.
    ///
    /// - Parameter tokens: `[B][T]`, each from 0 to less than `V`.
    /// - Returns: `[B, T, M]`.
    public func callAsFunction(_ tokens: [[Int]]) -> Tensor {
        let length = tokens.first?.count ?? 0
        require(
            tokens.allSatisfy { $0.count == length }, "Sequences of \(tokens.map(\.count)) tokens do not make a batch.")
        return Attention.embedding(weight: weight, indices: tokens.flatMap { $0 })
            .reshaped(to: [tokens.count, length, weight.shape[1]])
    }
}
