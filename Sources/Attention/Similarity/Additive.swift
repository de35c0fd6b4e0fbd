/// The additive score vᵀ tanh(W_q q + W_k k + b).
///
/// Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate", 2014
/// (arXiv:1409.0473), appendix A.1.2; they have no `b`.
public struct Additive: Similarity {
    /// `[A, D]`.
    public let queryWeight: Tensor
    /// `[A, D_k]`.
    public let keyWeight: Tensor
    /// `v`, `[A]`.
    public let scoreWeight: Tensor
    /// `b`, `[A]`, or none.
    public let bias: Tensor?
    private let elements: (queryWeight: [Double], keyWeight: [Double], scoreWeight: [Double], bias: [Double]?)

    /// Creates the measure.
    ///
    /// - Parameters:
    ///   - queryWeight: `[A, D]`, with `A` hidden units.
    ///   - keyWeight: `[A, D_k]`.
    ///   - scoreWeight: `v`, `[A]`.
    ///   - bias: `b`, `[A]`, or none.
    public init(queryWeight: Tensor, keyWeight: Tensor, scoreWeight: Tensor, bias: Tensor? = nil) {
        let hidden = scoreWeight.elementCount
        require(
            scoreWeight.rank == 1 && queryWeight.rank == 2 && keyWeight.rank == 2
                && queryWeight.shape[0] == hidden && keyWeight.shape[0] == hidden,
            "Additive attention needs [A, D], [A, D_k] and [A], not "
                + "\(queryWeight.shape), \(keyWeight.shape) and \(scoreWeight.shape).")
        if let bias { require(bias.shape == [hidden], "The bias is \(bias.shape), not [\(hidden)].") }
        self.queryWeight = queryWeight
        self.keyWeight = keyWeight
        self.scoreWeight = scoreWeight
        self.bias = bias
        elements = (queryWeight.doubles, keyWeight.doubles, scoreWeight.doubles, bias?.doubles)
    }

    /// Returns `vᵀ tanh(W_q q + W_k k + b)`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D_k]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var sum: Scalar = 0
        for unit in elements.scoreWeight.indices {
            var inner = Scalar(elements.bias?[unit] ?? 0)
            for index in query.indices {
                inner += Scalar(elements.queryWeight[unit * query.count + index]) * query[index]
            }
            for index in key.indices { inner += Scalar(elements.keyWeight[unit * key.count + index]) * key[index] }
            sum += Scalar(elements.scoreWeight[unit]) * .tanh(inner)
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
        if queryWeight.shape[1] == queryDimension && keyWeight.shape[1] == keyDimension { return nil }
        return "The weights \(queryWeight.shape) and \(keyWeight.shape) do not take queries of \(queryDimension) "
            + "and keys of \(keyDimension) elements."
    }

    /// Returns a weighted sum of tanh over the hidden units of the projected vectors.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        return ScoreForm(
            .additive(weights: scoreWeight), queries: .linear(weight: queryWeight, bias: bias),
            keys: .linear(weight: keyWeight, bias: nil))
    }
}

extension Similarity where Self == Additive {
    /// The additive score vᵀ tanh(W_q q + W_k k + b).
    ///
    /// - Parameters:
    ///   - queryWeight: `[A, D]`, with `A` hidden units.
    ///   - keyWeight: `[A, D_k]`.
    ///   - scoreWeight: `v`, `[A]`.
    ///   - bias: `b`, `[A]`, or none.
    /// - Returns: The measure.
    public static func additive(
        queryWeight: Tensor, keyWeight: Tensor, scoreWeight: Tensor, bias: Tensor? = nil
    ) -> Additive {
        Additive(queryWeight: queryWeight, keyWeight: keyWeight, scoreWeight: scoreWeight, bias: bias)
    }
}
