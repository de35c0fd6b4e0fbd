public import Attention

/// Layer or RMS normalisation over the last dimension.
public struct Norm: Layer {
    /// How activations are normalised.
    public enum Kind: Sendable, Hashable, Codable {
        /// By mean and variance, `layerNorm`.
        case layer(epsilon: Double)
        /// By the root of the mean square, `rmsNorm`.
        case rms(epsilon: Double)

        /// What is added to the variance, or to the mean square.
        public var epsilon: Double {
            switch self {
            case .layer(let epsilon), .rms(let epsilon): epsilon
            }
        }
    }

    /// How activations are normalised.
    public let kind: Kind
    /// Scales what was normalised, `[M]`.
    public var weight: Tensor
    /// Is added, `[M]`; of layer normalisation alone, or none.
    public var bias: Tensor?

    /// Creates a layer from its parameters.
    ///
    /// - Parameters:
    ///   - kind: How activations are normalised.
    ///   - weight: `[M]`.
    ///   - bias: `[M]`, or none; RMS normalisation has none.
    public init(_ kind: Kind, weight: Tensor, bias: Tensor? = nil) {
        require(
            weight.rank == 1 && (bias == nil || bias?.shape == weight.shape),
            "A norm has a weight and a bias of [M], not \(weight.shape) and \(bias?.shape ?? []).")
        if case .rms = kind { require(bias == nil, "RMS normalisation has no bias.") }
        self.kind = kind
        self.weight = weight
        self.bias = bias
    }

    /// Creates a layer that scales by one and adds nothing.
    ///
    /// - Parameters:
    ///   - kind: How activations are normalised.
    ///   - dimension: `M`.
    ///   - hasBias: Whether there is a bias; RMS normalisation has none either way.
    public init(_ kind: Kind, dimension: Int, hasBias: Bool = true) {
        var takesBias = hasBias
        if case .rms = kind { takesBias = false }
        self.init(
            kind, weight: Tensor(filledWith: 1, shape: [dimension]), bias: takesBias ? Tensor(zeros: [dimension]) : nil)
    }

    /// Calls `visit` with `weight` and `bias`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("weight", &weight)
        try visitParameter(&bias, "bias", visit)
    }

    /// Returns `x` normalised, times the weight, plus the bias.
    ///
    /// - Parameter x: `[…, M]`.
    /// - Returns: `[…, M]`.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        switch kind {
        case .layer(let epsilon): layerNorm(x, weight: weight, bias: bias, epsilon: epsilon)
        case .rms(let epsilon): rmsNorm(x, weight: weight, epsilon: epsilon)
        }
    }
}
