public import Attention

/// A measure of similarity by its name, to choose one for a model that is trained.
public enum SimilarityKind: String, Sendable, Hashable, Codable, CaseIterable {
    /// The dot product divided by √D.
    case scaledDot = "scaled-dot"
    /// The dot product.
    case dot
    /// qᵀ W k with a learned W.
    case general
    /// vᵀ tanh(W_q q + W_k k) with learned v, W_q and W_k.
    case additive
    /// w_q·q + w_k·k with learned vectors: the query has no say in it.
    case linearAdditive = "linear-additive"
    /// The cosine divided by a learned temperature.
    case cosine
    /// The negative squared distance, divided by √D.
    case euclidean
    /// The logarithm of a Gaussian kernel of bandwidth ⁴√D.
    case gaussian
    /// The logarithm of a Laplacian kernel of bandwidth √D.
    case laplacian

    /// Whether queries and keys may differ in length.
    public var takesDifferentLengths: Bool { [.general, .additive, .linearAdditive].contains(self) }
}

/// A measure of similarity with the parameters that it learns, shared by the heads of a layer.
///
/// The bandwidths of distances are not learned: the matrices that queries and keys come from stretch the space as well.
public struct LearnedSimilarity: Layer {
    /// Which measure.
    public let kind: SimilarityKind
    /// By name, in the order that they are visited.
    private var values: [(name: String, value: Tensor)]

    /// Creates a measure with its first parameters.
    ///
    /// They begin near the scaled dot product where the measure allows it; the temperature of the cosine begins at 0.1.
    ///
    /// - Parameters:
    ///   - kind: Which measure.
    ///   - queryDimension: `D`, the length of a query.
    ///   - keyDimension: The length of a key; `nil` means `D`.
    ///   - random: Where the parameters come from.
    public init(_ kind: SimilarityKind, queryDimension: Int, keyDimension: Int? = nil, random: inout RandomStream) {
        let keyDimension = keyDimension ?? queryDimension
        require(
            queryDimension == keyDimension || kind.takesDifferentLengths,
            "Queries have \(queryDimension) elements, but keys have \(keyDimension): \(kind.rawValue) cannot compare them."
        )
        self.kind = kind
        func bound(_ dimension: Int) -> Double { 1 / Double(max(1, dimension)).squareRoot() }
        switch kind {
        case .scaledDot, .dot, .euclidean, .gaussian, .laplacian: values = []
        case .general:
            var weight = [Float](repeating: 0, count: queryDimension * keyDimension)
            for index in 0..<min(queryDimension, keyDimension) {
                weight[index * keyDimension + index] = Float(bound(queryDimension))
            }
            values = [("weight", Tensor(weight, shape: [queryDimension, keyDimension]))]
        case .additive:
            values = [
                ("query_weight", random.uniform([queryDimension, queryDimension], bound: bound(queryDimension))),
                ("key_weight", random.uniform([queryDimension, keyDimension], bound: bound(keyDimension))),
                ("score_weight", random.uniform([queryDimension], bound: bound(queryDimension))),
            ]
        case .linearAdditive:
            values = [
                ("query_weight", random.uniform([queryDimension], bound: bound(queryDimension))),
                ("key_weight", random.uniform([keyDimension], bound: bound(keyDimension))),
            ]
        case .cosine:
            // The temperature is its logistic function and a little more: it stays above 0, whatever a step does.
            values = [("temperature_logit", Tensor([-Float.log(9)], shape: [1]))]
        }
    }

    /// The dot product divided by √D, which learns nothing.
    public static let scaledDot: LearnedSimilarity = {
        var random = RandomStream(seed: 0)
        return LearnedSimilarity(.scaledDot, queryDimension: 1, random: &random)
    }()

    /// Calls `visit` with what is learned: nothing for most measures.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        for index in values.indices { try visit(values[index].name, &values[index].value) }
    }

    /// Returns the measure with the parameters as they are.
    ///
    /// - Parameter dimension: `D`, the length of a query.
    /// - Returns: What the operator takes.
    public func measure(dimension: Int) -> any Similarity {
        let root = Double(max(1, dimension)).squareRoot()
        switch kind {
        case .scaledDot: return Dot()
        case .dot: return Dot(scale: 1)
        case .general: return General(weight: values[0].value)
        case .additive:
            return Additive(
                queryWeight: values[0].value, keyWeight: values[1].value, scoreWeight: values[2].value)
        case .linearAdditive: return LinearAdditive(queryWeight: values[0].value, keyWeight: values[1].value)
        case .cosine:
            return Cosine(
                temperature: sigmoid(values[0].value)
                    + Tensor([1e-30] as [Float], shape: [1]).converted(to: values[0].value.gradientType))
        case .euclidean: return Euclidean(scale: 1 / root)
        case .gaussian: return Gaussian(bandwidth: root.squareRoot())
        case .laplacian: return Laplacian(bandwidth: root)
        }
    }
}
