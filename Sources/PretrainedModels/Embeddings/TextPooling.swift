internal import Attention
internal import ModelFiles

/// How the vectors of a text's tokens become one vector.
public enum TextPooling: String, Sendable, CaseIterable {
    /// The first token's vector.
    case cls
    /// The largest number in each place.
    case max
    /// The mean over all tokens.
    case mean
    /// The sum over all tokens, divided by the square root of their number.
    case meanSquareRootLength
    /// The mean, a token's weight being its place, counted from 1. Muennighoff, "SGPT", 2022 (arXiv:2202.08904).
    case weightedMean
    /// The last token's vector.
    case last

    /// What the configuration of Python's sentence-transformers calls it: as a key of its own, and as a value.
    private var names: (key: String, value: String) {
        switch self {
        case .cls: ("pooling_mode_cls_token", "cls")
        case .max: ("pooling_mode_max_tokens", "max")
        case .mean: ("pooling_mode_mean_tokens", "mean")
        case .meanSquareRootLength: ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens")
        case .weightedMean: ("pooling_mode_weightedmean_tokens", "weightedmean")
        case .last: ("pooling_mode_lasttoken", "lasttoken")
        }
    }

    /// Reads a `1_Pooling/config.json`: the ways whose vectors are put side by side, in their order.
    static func read(_ file: ConfigurationFile, dimension: Int) throws(PretrainedModelError) -> [TextPooling] {
        let width = try file.integer("word_embedding_dimension", default: dimension)
        guard width == dimension else {
            throw file.error("word_embedding_dimension", wanted: "\(dimension), as the model has,")
        }
        guard try file.flag("include_prompt", default: true) else {
            throw .unsupportedFeature(path: file.path, key: "include_prompt", value: "false", supported: "true")
        }
        if let mode = file["pooling_mode"]?.stringValue {
            guard let pooling = allCases.first(where: { $0.names.value == mode }) else {
                throw .unsupportedFeature(
                    path: file.path, key: "pooling_mode", value: String(mode.prefix(80)),
                    supported: allCases.map(\.names.value).joined(separator: ", "))
            }
            return [pooling]
        }
        var poolings: [TextPooling] = []
        for pooling in allCases where try file.flag(pooling.names.key, default: false) { poolings.append(pooling) }
        for (key, value) in file.json.objectValue?.members ?? []
        where key.hasPrefix("pooling_mode_") && value.booleanValue == true {
            guard allCases.contains(where: { $0.names.key == key }) else {
                throw .unsupportedFeature(
                    path: file.path, key: String(key.prefix(80)), value: "true",
                    supported: allCases.map(\.names.key).joined(separator: ", "))
            }
        }
        guard !poolings.isEmpty else { throw file.error("pooling_mode", wanted: "at least one way to pool") }
        return poolings
    }

    /// Writes what becomes of `count` vectors, which are added one after the other: zeros of none.
    func write(
        _ vectors: UnsafePointer<Float>, count: Int, dimension: Int, into out: UnsafeMutablePointer<Float>
    ) {
        guard count > 0 else {
            out.update(repeating: 0, count: dimension)
            return
        }
        func weightedSum(_ weight: (Int) -> Double, dividedBy divisor: Double) {
            withUnsafeTemporaryAllocation(of: Double.self, capacity: dimension) { sums in
                sums.initialize(repeating: 0)
                for row in 0..<count {
                    let (vector, weight) = (vectors + row * dimension, weight(row))
                    for column in 0..<dimension { sums[column] += weight * Double(vector[column]) }
                }
                for column in 0..<dimension { out[column] = Float(sums[column] / divisor) }
            }
        }
        switch self {
        case .cls: out.update(from: vectors, count: dimension)
        case .last: out.update(from: vectors + (count - 1) * dimension, count: dimension)
        case .mean: weightedSum({ _ in 1 }, dividedBy: Double(count))
        case .meanSquareRootLength: weightedSum({ _ in 1 }, dividedBy: Double(count).squareRoot())
        case .weightedMean: weightedSum({ Double($0 + 1) }, dividedBy: Double(count) * Double(count + 1) / 2)
        case .max:
            out.update(from: vectors, count: dimension)
            for row in 1..<count {
                let vector = vectors + row * dimension
                for column in 0..<dimension where !(out[column] >= vector[column]) { out[column] = vector[column] }
            }
        }
    }
}
