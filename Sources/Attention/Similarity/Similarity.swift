/// How well a key matches a query: the score before the softmax.
///
/// A measure of one's own needs only ``score(query:key:)``:
///
/// ```swift
/// struct Minkowski: Similarity {
///     func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
///         var sum: Scalar = 0
///         for index in query.indices {
///             let difference = abs(query[index] - key[index])
///             sum += difference * difference * difference
///         }
///         return -sum
///     }
/// }
/// let output = attention(queries: queries, keys: keys, values: values, similarity: Minkowski())
/// ```
///
/// The compiler specialises the loop over a tile of queries and keys for it, in the user's own module.
/// Its gradient is that of the same lines: they run once more with a number that records what is done with it.
/// Measures that are a dot product or a distance in disguise say so in ``form(queryDimension:)`` and run on the vector kernels.
public protocol Similarity: Sendable {
    /// Returns the score of one query and one key: the definition, which every faster path is tested against.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D_k]`; as long as the query unless the measure says otherwise.
    /// - Returns: The score, any number; higher means more attention.
    func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar

    /// Returns why the measure cannot take vectors of these lengths, with both, or `nil` if it can.
    ///
    /// - Parameters:
    ///   - queryDimension: `D`.
    ///   - keyDimension: `D_k`.
    /// - Returns: A sentence, or `nil`; by default, `nil` if both are the same.
    func problem(queryDimension: Int, keyDimension: Int) -> String?

    /// How the tiled operator computes the scores.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form; ``ScoreForm/pairwise``, the default, calls ``score(query:key:)`` for each pair.
    func form(queryDimension: Int) -> ScoreForm

    /// Writes the scores of a tile. The default calls ``score(query:key:)`` for each pair.
    ///
    /// - Parameter tile: Queries and keys in rows, and where the scores go.
    func fillScores(_ tile: ScoreTile<Float>)

    /// Writes the scores of a tile. The default calls ``score(query:key:)`` for each pair.
    ///
    /// - Parameter tile: Queries and keys in rows, and where the scores go.
    func fillScores(_ tile: ScoreTile<Double>)

    /// Adds the gradients of queries and keys of a tile. The default differentiates ``score(query:key:)`` itself.
    ///
    /// - Parameter tile: Queries and keys in rows, the gradient of each score, and where the gradients go.
    func addGradients(_ tile: ScoreGradientTile<Float>)

    /// Adds the gradients of queries and keys of a tile. The default differentiates ``score(query:key:)`` itself.
    ///
    /// - Parameter tile: Queries and keys in rows, the gradient of each score, and where the gradients go.
    func addGradients(_ tile: ScoreGradientTile<Double>)
}

extension Similarity {
    /// Returns a sentence unless queries and keys are equally long.
    ///
    /// - Parameters:
    ///   - queryDimension: `D`.
    ///   - keyDimension: `D_k`.
    /// - Returns: A sentence with both, or `nil`.
    public func problem(queryDimension: Int, keyDimension: Int) -> String? {
        if queryDimension == keyDimension { return nil }
        return "Queries have head dimension \(queryDimension), but keys have \(keyDimension)."
    }

    /// Calls ``score(query:key:)`` for each pair.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: ``ScoreForm/pairwise``.
    public func form(queryDimension: Int) -> ScoreForm { .pairwise }

    // Inlinable, so that the loop is compiled in the module of the measure, with its score inlined.
    /// Calls ``score(query:key:)`` for each pair of the tile.
    @inlinable public func fillScores(_ tile: ScoreTile<Float>) {
        tile.fill { query, key in score(query: query, key: key) }
    }

    /// Calls ``score(query:key:)`` for each pair of the tile.
    @inlinable public func fillScores(_ tile: ScoreTile<Double>) {
        tile.fill { query, key in score(query: query, key: key) }
    }

    /// Differentiates ``score(query:key:)`` for each pair of the tile.
    @inlinable public func addGradients(_ tile: ScoreGradientTile<Float>) {
        tile.addDerivatives { query, key in score(query: query, key: key) }
    }

    /// Differentiates ``score(query:key:)`` for each pair of the tile.
    @inlinable public func addGradients(_ tile: ScoreGradientTile<Double>) {
        tile.addDerivatives { query, key in score(query: query, key: key) }
    }
}

/// A block of queries and keys, in rows, and the place for their scores.
public struct ScoreTile<Scalar: AttentionScalar> {
    /// Row-major `[rows, queryDimension]`.
    public let queries: UnsafePointer<Scalar>
    /// How far apart the queries' rows are, in elements.
    public let queryStride: Int
    /// The length of a query.
    public let queryDimension: Int
    /// Row-major `[columns, keyDimension]`.
    public let keys: UnsafePointer<Scalar>
    /// How far apart the keys' rows are, in elements.
    public let keyStride: Int
    /// The length of a key.
    public let keyDimension: Int
    /// `[rows, columns]`, to be written.
    public let scores: UnsafeMutablePointer<Scalar>
    /// How far apart the scores' rows are, in elements.
    public let scoreStride: Int
    /// The number of queries.
    public let rows: Int
    /// The number of keys.
    public let columns: Int

    /// Writes `score(query, key)` for each pair.
    ///
    /// - Parameter score: The score of one pair.
    @inlinable public func fill(_ score: (Span<Scalar>, Span<Scalar>) -> Scalar) {
        for row in 0..<rows {
            let query = UnsafeBufferPointer(start: queries + row * queryStride, count: queryDimension)
            for column in 0..<columns {
                let key = UnsafeBufferPointer(start: keys + column * keyStride, count: keyDimension)
                scores[row * scoreStride + column] = score(query.span, key.span)
            }
        }
    }
}

/// How the tiled operator computes the scores of a measure:
/// `score = scale · Σ_f op(φ_q(query)_f, φ_k(key)_f)`.
public struct ScoreForm: Sendable {
    /// What is summed over the features.
    public enum Operation: Sendable {
        /// `a · b`
        case product
        /// `(a - b)²`
        case squaredDistance
        /// `|a - b|`
        case absoluteDistance
        /// `weights_f · tanh(a + b)`
        case additive(weights: Tensor)
        /// ``Similarity/score(query:key:)`` itself.
        case pairwise
    }

    /// A map from a vector to the features that are compared.
    public enum FeatureMap: Sendable {
        /// The vector itself.
        case identity
        /// `x / ‖x‖`, and zero for a zero vector.
        case normalized
        /// `W x + b` with `W` `[F, D]` and `b` `[F]`.
        case linear(weight: Tensor, bias: Tensor?)
    }

    /// What is summed over the features.
    public var operation: Operation
    /// φ_q.
    public var queries: FeatureMap
    /// φ_k.
    public var keys: FeatureMap
    /// Multiplies the sum.
    public var scale: Double { didSet { scaleTensor = nil } }
    /// The scale as a tensor of one element, where its gradient may be asked for.
    public private(set) var scaleTensor: Tensor?

    /// Creates a form.
    ///
    /// - Parameters:
    ///   - operation: What is summed over the features.
    ///   - queries: φ_q.
    ///   - keys: φ_k, with as many features.
    ///   - scale: Multiplies the sum.
    public init(
        _ operation: Operation, queries: FeatureMap = .identity, keys: FeatureMap = .identity, scale: Double = 1
    ) {
        self.operation = operation
        self.queries = queries
        self.keys = keys
        self.scale = scale
    }

    /// Creates a form whose scale may be tracked.
    ///
    /// - Parameters:
    ///   - operation: What is summed over the features.
    ///   - queries: φ_q.
    ///   - keys: φ_k, with as many features.
    ///   - scale: One element, which multiplies the sum.
    public init(
        _ operation: Operation, queries: FeatureMap = .identity, keys: FeatureMap = .identity, scale: Tensor
    ) {
        self.init(operation, queries: queries, keys: keys, scale: scale.onlyElement)
        scaleTensor = scale
    }

    /// Whether the scores are products of features.
    var isProduct: Bool {
        if case .product = operation { return true }
        return false
    }

    /// ``Similarity/score(query:key:)`` for each pair.
    public static let pairwise = ScoreForm(.pairwise)
}

extension Span where Element: AttentionScalar {
    /// Returns Σᵢ selfᵢ · otherᵢ.
    func dot(_ other: Span<Element>) -> Element {
        var sum: Element = 0
        for index in indices { sum += self[index] * other[index] }
        return sum
    }
}
