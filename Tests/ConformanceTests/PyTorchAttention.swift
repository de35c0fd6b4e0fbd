import Attention
import ModelFiles

/// Runs a case of PyTorch's `scaled_dot_product_attention` and returns what is wrong: nothing if it passes.
///
/// The tolerance is 1e-5 of the largest element, for the output and for each gradient.
///
/// - Throws: When a tensor is missing, or the mask is of a kind that nobody knows.
func problemsOfPyTorchAttention(_ file: SafetensorsFile) throws -> [String] {
    func tensor(_ name: String) throws -> Tensor { try Tensor(file.requireTensor(named: name)) }
    let known: Set<String> = [
        "queries", "keys", "values", "mask", "bias", "output", "output_gradient", "gradient.queries", "gradient.keys",
        "gradient.values",
    ]
    for tensor in file.tensors where !known.contains(tensor.name) {
        throw ConformanceProblem("The tensor '\(tensor.name)' has no meaning here.")
    }
    var operation = AttentionOperation()
    switch file.metadataValue("mask") {
    case "none": break
    case "causal": operation.mask = .causal(offset: 0)
    case "bool": operation.mask = .boolean(try tensor("mask"))
    case "bias": operation.bias = .tensor(try tensor("bias"))
    case let kind: throw ConformanceProblem("A mask of the kind '\(kind ?? "")' is not known.")
    }
    let operands = try ["queries", "keys", "values"].map { try tensor($0).tracked() }
    let output = operation(queries: operands[0], keys: operands[1], values: operands[2])
    let gradients = output.gradients(of: operands, seed: try tensor("output_gradient"))
    let results = [("output", output)] + zip(["queries", "keys", "values"].map { "gradient.\($0)" }, gradients)
    return try results.compactMap { name, actual in
        let expected = try tensor(name)
        let tolerance = Tolerance(relative: 0, absolute: 1e-5 * expected.largestMagnitude)
        return difference(of: actual, from: expected, within: tolerance).map { "'\(name)' \($0)." }
    }
}
