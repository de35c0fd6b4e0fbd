public import Attention
public import SequenceModels

/// An encoder of the BERT family, with what stands behind it in its checkpoint.
///
/// Devlin et al., "BERT", 2018 (arXiv:1810.04805).
public struct EncoderModel: Sendable {
    /// The model: tokens in, a vector for each out.
    public let transformer: Transformer
    /// What BERT makes of the first token's vector, before a tanh; of checkpoints that have it.
    public let pooler: Projection?
    /// What predicts masked words; of checkpoints that have it.
    public let maskedTokenHead: MaskedTokenHead?

    /// Returns how much each token is to be expected in each place, before the softmax.
    ///
    /// - Parameter hiddenStates: `[B, T, M]`, the Transformer's.
    /// - Returns: `[B, T, V]`, or `nil` where the checkpoint has no head for that.
    public func maskedTokenLogits(of hiddenStates: Tensor) -> Tensor? {
        guard let head = maskedTokenHead else { return nil }
        return matmul(head.transformed(hiddenStates), transformer.outputWeight, bias: head.bias)
    }
}

/// What stands between an encoder's vectors and the embedding's rows, by which masked words are predicted.
public struct MaskedTokenHead: Sendable {
    /// `[M, M]`.
    public let projection: Projection
    /// The nonlinearity behind it.
    public let activation: FeedForward.Kind
    /// The norm behind that.
    public let norm: Norm
    /// Is added to the logits, `[V]`.
    public let bias: Tensor

    func transformed(_ hiddenStates: Tensor) -> Tensor {
        let projected = projection(hiddenStates)
        switch activation {
        case .gelu: return norm(gelu(projected))
        case .geluTanh: return norm(geluTanh(projected))
        case .relu: return norm(relu(projected))
        case .swiGLU: return norm(silu(projected))
        }
    }
}
