/// The bilinear form qᵀ W k, also called general or multiplicative.
///
/// Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015 (arXiv:1508.04025),
/// section 3.1.
public struct General: Similarity {
    /// `[D, D_k]`.
    public let weight: Tensor
    private let elements: [Double]

    /// Creates the measure.
    ///
    /// - Parameter weight: `[D, D_k]`, for queries of `D` and keys of `D_k` elements.
    public init(weight: Tensor) {
        require(weight.rank == 2, "The weight of a bilinear form is [D, D_k], not \(weight.shape).")
        self.weight = weight
        elements = weight.doubles
    }

    /// Returns `qᵀ W k`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D_k]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var sum: Scalar = 0
        for column in key.indices {
            var projected: Scalar = 0
            for row in query.indices { projected += query[row] * Scalar(elements[row * key.count + column]) }
            sum += projected * key[column]
        }
        return sum
    }

    /// Returns a sentence unless the weights take vectors of these lengths.
    ///
    /// - Parameters:
    ///   - queryDimension: `D`.
    ///   - keyDimension: `D_k`.
    /// - Returns: A sentence with both, or `nil`.
    public func problem(queryDimension: Int, keyDimension: Int) -> String? {
        if weight.shape == [queryDimension, keyDimension] { return nil }
        return "The weight is \(weight.shape), but queries and keys need [\(queryDimension), \(keyDimension)]."
    }

    /// Returns a product of `Wᵀ q` and the key.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        ScoreForm(.product, queries: .linear(weight: weight.transposed(0, 1), bias: nil))
    }
}

extension Similarity where Self == General {
    /// The bilinear form qᵀ W k.
    ///
    /// - Parameter weight: `[D, D_k]`.
    /// - Returns: The measure.
    public static func general(weight: Tensor) -> General { General(weight: weight) }
}
