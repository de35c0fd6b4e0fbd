public import Attention

/// What is wrong with named parameters that a layer should take.
public enum ParameterNameError: Error, Equatable, CustomStringConvertible {
    /// Names that the layer has and the parameters do not, and the other way round.
    case wrongNames(missing: [String], unexpected: [String])
    /// A parameter of another shape than the layer's.
    case wrongShape(name: String, shape: [Int], wanted: [Int])

    /// What is wrong, in a sentence.
    public var description: String {
        switch self {
        case .wrongNames(let missing, let unexpected):
            "The parameters do not fit the layer: missing \(missing), left over \(unexpected)."
        case .wrongShape(let name, let shape, let wanted): "'\(name)' has shape \(shape), not \(wanted)."
        }
    }
}

extension Layer {
    /// Returns a copy with parameters that are found by name; all of them are used.
    ///
    /// - Parameter values: A parameter for each name that is visited, and no others.
    /// - Returns: The same layer with these parameters.
    /// - Throws: ``ParameterNameError`` when a name is missing or left over, or a shape is another.
    public func replacingParameters(named values: [String: Tensor]) throws(ParameterNameError) -> Self {
        let current = parameters
        let names = Set(current.map(\.name))
        let missing = current.map(\.name).filter { values[$0] == nil }
        let unexpected = values.keys.filter { !names.contains($0) }.sorted()
        if !missing.isEmpty || !unexpected.isEmpty {
            throw .wrongNames(missing: missing, unexpected: unexpected)
        }
        var found: [Tensor] = []
        for (name, value) in current {
            guard let replacement = values[name] else { continue }
            if replacement.shape != value.shape {
                throw .wrongShape(name: name, shape: replacement.shape, wanted: value.shape)
            }
            found.append(replacement)
        }
        return replacingParameters(with: found)
    }
}

/// PyTorch's names of the parameters of `nn.MultiheadAttention`, where they differ from those here.
///
/// PyTorch keeps the matrices of queries, keys and values in one, `in_proj_weight`, where all have as many columns, else
/// as `q_proj_weight`, `k_proj_weight` and `v_proj_weight`; the biases are always one, `in_proj_bias`. Here each
/// projection is a layer: `q_proj.weight`, `q_proj.bias` and so on.
public enum PyTorchAttentionNames {
    private static let parts = ["q", "k", "v"]

    /// Returns parameters under the names that layers have here.
    ///
    /// - Parameter parameters: By PyTorch's names, of `nn.MultiheadAttention` and of modules that hold it.
    /// - Returns: The same, with what PyTorch keeps as one taken apart.
    public static func separated(_ parameters: [String: Tensor]) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (name, value) in parameters {
            if let (prefix, kind) = split(name, at: "in_proj_"), value.rank > 0, value.shape[0] % 3 == 0 {
                let rows = value.shape[0] / 3
                for (index, part) in parts.enumerated() {
                    result["\(prefix)\(part)_proj.\(kind)"] = value.slice(
                        axis: 0, range: index * rows..<(index + 1) * rows
                    ).contiguous()
                }
            } else if let part = parts.first(where: { split(name, at: "\($0)_proj_") != nil }),
                let (prefix, kind) = split(name, at: "\(part)_proj_")
            {
                result["\(prefix)\(part)_proj.\(kind)"] = value
            } else {
                result[name] = value
            }
        }
        return result
    }

    /// Returns parameters, or their gradients, under PyTorch's names.
    ///
    /// - Parameter parameters: By the names that layers have here.
    /// - Returns: The same, with what PyTorch keeps as one put together.
    public static func joined(_ parameters: [String: Tensor]) -> [String: Tensor] {
        var result = parameters
        for name in parameters.keys {
            guard let (prefix, kind) = split(name, at: "q_proj.") else { continue }
            let values = parts.compactMap { parameters["\(prefix)\($0)_proj.\(kind)"] }
            guard values.count == 3 else { continue }
            for part in parts { result["\(prefix)\(part)_proj.\(kind)"] = nil }
            if kind == "bias" || values.allSatisfy({ $0.shape == values[0].shape }) {
                result["\(prefix)in_proj_\(kind)"] = .concatenated(values, axis: 0)
            } else {
                for (part, value) in zip(parts, values) { result["\(prefix)\(part)_proj_\(kind)"] = value }
            }
        }
        return result
    }

    /// Returns what stands before and after a part of a name that begins there or behind a dot.
    private static func split(_ name: String, at part: String) -> (prefix: String, kind: String)? {
        for kind in ["weight", "bias"] where name == part + kind || name.hasSuffix("." + part + kind) {
            return (String(name.dropLast(part.count + kind.count)), kind)
        }
        return nil
    }
}
