import Attention
import SequenceModels

// The measures by name, on the tensors of a file.

extension SimilarityKind {
    /// The tensors that the measure takes from the file; `score_bias` may be absent.
    var tensorNames: [String] {
        switch self {
        case .general: ["weight"]
        case .additive: ["query_weight", "key_weight", "score_weight", "score_bias"]
        case .linearAdditive: ["query_weight", "key_weight"]
        default: []
        }
    }

    /// Returns the measure.
    ///
    /// - Parameters:
    ///   - scale: For the dot products and the Euclidean distance.
    ///   - temperature: For the cosine; not 0.
    ///   - bandwidth: For Gaussian and Laplacian; above 0.
    ///   - tensors: Those of the file.
    /// - Returns: What the operator takes.
    /// - Throws: `CommandFailure` when a number or tensor is missing or does not fit.
    func measure(
        scale: Double?, temperature: Double?, bandwidth: Double?, tensors: [String: Tensor]
    ) throws -> any Similarity {
        let options: [(name: String, value: Double?, measures: [SimilarityKind])] = [
            ("--scale", scale, [.scaledDot, .dot, .euclidean]), ("--temperature", temperature, [.cosine]),
            ("--bandwidth", bandwidth, [.gaussian, .laplacian]),
        ]
        for (name, value, measures) in options where value != nil && !measures.contains(self) {
            let list = measures.map(\.rawValue).joined(separator: ", ")
            throw CommandFailure.usage("\(name) has no meaning for \(rawValue); it is for \(list).")
        }
        let (temperature, bandwidth) = (temperature ?? 1, bandwidth ?? 1)
        func tensor(_ name: String, rank: Int) throws -> Tensor {
            guard let tensor = tensors[name] else {
                throw CommandFailure.usage("--similarity \(rawValue) needs the tensor '\(name)' in the file.")
            }
            guard tensor.rank == rank, tensor.elementType.isFloatingPoint else {
                throw CommandFailure.failure(
                    "'\(name)' has shape \(tensor.shape) and type \(tensor.elementType); \(rawValue) needs numbers in "
                        + "\(rank) dimension\(rank == 1 ? "" : "s").")
            }
            return tensor
        }
        switch self {
        case .scaledDot: return Dot(scale: scale)
        case .dot: return Dot(scale: scale ?? 1)
        case .euclidean: return Euclidean(scale: scale ?? 1)
        case .cosine:
            guard temperature.isFactorOfFloats else {
                throw CommandFailure.usage(
                    "--temperature is \(temperature); it must be from 1e-38 to 1e38, with any sign.")
            }
            return Cosine(temperature: temperature)
        case .gaussian:
            // Scores are multiplied by 1 / (2σ²).
            guard bandwidth > 0 && (2 * bandwidth * bandwidth).isFactorOfFloats else {
                throw CommandFailure.usage("--bandwidth is \(bandwidth); it must be from 1e-19 to 7e18.")
            }
            return Gaussian(bandwidth: bandwidth)
        case .laplacian:
            guard bandwidth > 0 && bandwidth.isFactorOfFloats else {
                throw CommandFailure.usage("--bandwidth is \(bandwidth); it must be from 1e-38 to 1e38.")
            }
            return Laplacian(bandwidth: bandwidth)
        case .general: return General(weight: try tensor("weight", rank: 2))
        case .linearAdditive:
            return LinearAdditive(
                queryWeight: try tensor("query_weight", rank: 1), keyWeight: try tensor("key_weight", rank: 1))
        case .additive:
            let (query, key) = (try tensor("query_weight", rank: 2), try tensor("key_weight", rank: 2))
            let score = try tensor("score_weight", rank: 1)
            let bias = tensors["score_bias"] == nil ? nil : try tensor("score_bias", rank: 1)
            let hidden = score.shape[0]
            guard query.shape[0] == hidden, key.shape[0] == hidden, bias.map({ $0.shape == [hidden] }) ?? true else {
                throw CommandFailure.failure(
                    "additive needs query_weight [A, D], key_weight [A, D_k], score_weight [A] and perhaps score_bias "
                        + "[A], not \(query.shape), \(key.shape), \(score.shape)\(bias.map { ", \($0.shape)" } ?? "").")
            }
            return Additive(queryWeight: query, keyWeight: key, scoreWeight: score, bias: bias)
        }
    }
}
