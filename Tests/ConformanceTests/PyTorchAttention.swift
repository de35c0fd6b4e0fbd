import Attention
import ModelFiles

/// Runs a case of PyTorch's `scaled_dot_product_attention` and returns what is wrong: nothing if it passes.
///
/// The tolerance is 1e-5 of the largest element. Gradients, which the files hold too, are not compared.
///
/// - Throws: When a tensor is missing, or the mask is of a kind that nobody knows.
func problemsOfPyTorchAttention(_ file: SafetensorsFile) throws -> [String] {
    func tensor(_ name: String) throws -> Tensor { try Tensor(file.requireTensor(named: name)) }
    let known: Set<String> = ["queries", "keys", "values", "mask", "bias", "output", "output_gradient"]
    for tensor in file.tensors where !known.contains(tensor.name) && !tensor.name.hasPrefix("gradient.") {
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
    let expected = try tensor("output")
    let output = operation(
        queries: try tensor("queries"), keys: try tensor("keys"), values: try tensor("values"))
    let tolerance = Tolerance(relative: 0, absolute: 1e-5 * expected.largestMagnitude)
    let problem = difference(of: output, from: expected, within: tolerance)
    return problem.map { ["The output \($0)."] } ?? []
}
