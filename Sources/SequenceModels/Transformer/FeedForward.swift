public import Attention

/// What follows attention in each layer: two linear layers with a nonlinearity between, token by token.
public struct FeedForward: Layer {
    /// The nonlinearity.
    public enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        /// `down(max(up(x), 0))`. Vaswani et al., 2017 (arXiv:1706.03762), section 3.3.
        case relu
        /// `down(gelu(up(x)))`, exact.
        case gelu
        /// `down(gelu(up(x)))`, with the approximation by a tanh, which is faster.
        case geluTanh
        /// `down(silu(gate(x)) · up(x))`. Shazeer, "GLU Variants Improve Transformer", 2020 (arXiv:2002.05202).
        case swiGLU

        /// Whether there is a third matrix.
        public var isGated: Bool { self == .swiGLU }
    }

    /// The nonlinearity.
    public let kind: Kind
    /// `[F, M]`, of gated kinds alone.
    public var gate: Projection?
    /// `[F, M]`.
    public var up: Projection
    /// `[M, F]`.
    public var down: Projection

    /// Creates a block from its parts.
    ///
    /// - Parameters:
    ///   - kind: The nonlinearity.
    ///   - gate: `[F, M]`, of gated kinds alone.
    ///   - up: `[F, M]`.
    ///   - down: `[M, F]`.
    public init(_ kind: Kind, gate: Projection? = nil, up: Projection, down: Projection) {
        require(
            (gate != nil) == kind.isGated,
            kind.isGated ? "\(kind) needs a gate, and there is none." : "\(kind) has no gate.")
        self.kind = kind
        self.gate = gate
        self.up = up
        self.down = down
    }

    /// Calls `visit` with the parameters of `gate`, `linear1` and `linear2`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &gate, "gate", visit)
        try SequenceModels.visitParameters(of: &up, "linear1", visit)
        try SequenceModels.visitParameters(of: &down, "linear2", visit)
    }

    /// Returns the block's output for each token.
    ///
    /// - Parameter x: `[…, M]`.
    /// - Returns: `[…, M]`.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        switch kind {
        case .relu: return down(relu(up(x)))
        case .gelu: return down(gelu(up(x)))
        case .geluTanh: return down(geluTanh(up(x)))
        case .swiGLU:
            guard let gate else { stop("\(kind) needs a gate, and there is none.") }
            let products = project(x, by: [gate, up])
            return down(silu(products[0]) * products[1])
        }
    }
}

/// Calls `visit` with the parameters of a layer that may be absent.
func visitParameters<Inner: Layer>(
    of inner: inout Inner?, _ name: String, _ visit: (String, inout Tensor) throws -> Void
) rethrows {
    guard var present = inner else { return }
    // Given up here, so that it may be written in place.
    inner = nil
    defer { inner = present }
    try visitParameters(of: &present, name, visit)
}
