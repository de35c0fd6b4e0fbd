internal import Attention

/// A measure whose keys are features already, projected once for all steps.
struct ProjectedKeySimilarity: Similarity {
    private let projected: ScoreForm

    /// Takes the measure of a form, but for its map of keys.
    init(_ form: ScoreForm) {
        var form = form
        form.keys = .identity
        projected = form
    }

    func problem(queryDimension: Int, keyDimension: Int) -> String? { nil }

    func form(queryDimension: Int) -> ScoreForm { projected }

    func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var features = query.indices.map { query[$0] }
        switch projected.queries {
        case .identity: break
        case .normalized:
            let norm = features.reduce(0) { $0 + $1 * $1 }.squareRoot()
            if norm > 0 { features = features.map { $0 / norm } }
        case .linear(let weight, let bias):
            let bias = bias?.doubles
            features = weight.unstacked().enumerated().map { index, row in
                zip(row.doubles, features).reduce(Scalar(bias?[index] ?? 0)) { $0 + Scalar($1.0) * $1.1 }
            }
        }
        var sum: Scalar = 0
        for index in key.indices {
            let (feature, other) = (features[index], key[index])
            switch projected.operation {
            case .product: sum += feature * other
            case .squaredDistance: sum += (feature - other) * (feature - other)
            case .absoluteDistance: sum += abs(feature - other)
            case .additive(let weights): sum += Scalar(weights[index]) * .tanh(feature + other)
            case .pairwise: stop("A measure without a form has no features.")
            }
        }
        return Scalar(projected.scale) * sum
    }
}
