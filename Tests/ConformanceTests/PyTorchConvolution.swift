import Attention
import ModelFiles
import SequenceModels

/// Runs a case of PyTorch's `Conv1d`, forward and backward, and returns what is wrong: nothing if it passes.
///
/// The tolerance is 1e-5 of the largest element.
///
/// - Throws: When a tensor is missing or has no meaning, or an option is no number.
func problemsOfPyTorchConvolution(_ file: SafetensorsFile) throws -> [String] {
    func tensor(_ name: String) throws -> Tensor { try Tensor(file.requireTensor(named: name)) }
    func option(_ name: String) throws -> Int {
        guard let number = file.metadataValue(name).flatMap({ Int($0) }), number >= 0 else {
            throw ConformanceProblem("The metadata's '\(name)' is no number from 0 on.")
        }
        return number
    }
    let window = ConvolutionWindow(
        stride: try option("stride"), dilation: try option("dilation"), padding: try option("padding"))
    let hasBias = file.tensors.contains { $0.name == "parameter.bias" }
    let layer = Conv1d(
        weight: try tensor("parameter.weight"), bias: hasBias ? try tensor("parameter.bias") : nil, window: window,
        groups: try option("groups")
    ).tracked()
    let input = try tensor("input").tracked()
    let output = layer(input)
    let names = ["input.0"] + layer.parameters.map { "parameter.\($0.name)" }
    let gradients = output.gradients(
        of: [input] + layer.parameters.map(\.value), seed: try tensor("output_gradient"))
    let results = [("output", output)] + zip(names.map { "gradient.\($0)" }, gradients)
    let known = ["input", "output_gradient"] + results.map(\.0) + names.dropFirst()
    for tensor in file.tensors where !known.contains(tensor.name) {
        throw ConformanceProblem("The tensor '\(tensor.name)' has no meaning here.")
    }
    return try results.compactMap { name, result in
        let expected = try tensor(name)
        let tolerance = Tolerance(relative: 0, absolute: 1e-5 * expected.largestMagnitude)
        return difference(of: result, from: expected, within: tolerance).map { "\(name) \($0)." }
    }
}
