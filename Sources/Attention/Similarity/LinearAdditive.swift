/// The additive score without the tanh, w_q·q + w_k·k, as the lecture behind this project's first text gives it.
///
/// The query's part is the same for every key and so cancels in the softmax: which keys are attended to does
/// not depend on the query. That is why Bahdanau's form has the tanh.
///
/// Ghodsi, lecture "Deep Learning: Attention", University of Waterloo.
public struct LinearAdditive: Similarity {
    /// `[D]`.
    public let queryWeight: Tensor
    /// `[D_k]`.
    public let keyWeight: Tensor
    private let elements: (query: [Double], key: [Double])

    /// Creates the measure.
    ///
    /// - Parameters:
    ///   - queryWeight: `[D]`.
    ///   - keyWeight: `[D_k]`.
    public init(queryWeight: Tensor, keyWeight: Tensor) {
        require(
            queryWeight.rank == 1 && keyWeight.rank == 1,
            "The linear additive form needs [D] and [D_k], not \(queryWeight.shape) and \(keyWeight.shape).")
        self.queryWeight = queryWeight
        self.keyWeight = keyWeight
        elements = (queryWeight.doubles, keyWeight.doubles)
    }

    /// Returns `w_q·q + w_k·k`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D_k]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var sum: Scalar = 0
        for index in query.indices { sum += Scalar(elements.query[index]) * query[index] }
        for index in key.indices { sum += Scalar(elements.key[index]) * key[index] }
        return sum
    }

    /// Returns a sentence unless the weights take vectors of these lengths.
    ///
    /// - Parameters:
    ///   - queryDimension: `D`.
    ///   - keyDimension: `D_k`.
    /// - Returns: A sentence with both, or `nil`.
    public func problem(queryDimension: Int, keyDimension: Int) -> String? {
        if queryWeight.shape == [queryDimension] && keyWeight.shape == [keyDimension] { return nil }
        return "The weights \(queryWeight.shape) and \(keyWeight.shape) do not take queries of \(queryDimension) "
            + "and keys of \(keyDimension) elements."
    }

    /// Returns the product of `[w_q·q, 1]` and `[1, w_k·k]`.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        let queryRow = queryWeight.reshaped(to: [1, queryWeight.elementCount])
        let keyRow = keyWeight.reshaped(to: [1, keyWeight.elementCount])
        let queryZeros = Tensor(zeros: queryRow.shape, elementType: queryRow.elementType)
        let keyZeros = Tensor(zeros: keyRow.shape, elementType: keyRow.elementType)
        return ScoreForm(
            .product,
            queries: .linear(
                weight: .concatenated([queryRow, queryZeros], axis: 0), bias: Tensor([0.0, 1], shape: [2])),
            keys: .linear(weight: .concatenated([keyZeros, keyRow], axis: 0), bias: Tensor([1.0, 0], shape: [2])))
    }
}

extension Similarity where Self == LinearAdditive {
    /// The additive score without the tanh, w_q·q + w_k·k.
    ///
    /// - Parameters:
    ///   - queryWeight: `[D]`.
    ///   - keyWeight: `[D_k]`.
    /// - Returns: The measure.
    public static func linearAdditive(queryWeight: Tensor, keyWeight: Tensor) -> LinearAdditive {
        LinearAdditive(queryWeight: queryWeight, keyWeight: keyWeight)
    }
}
