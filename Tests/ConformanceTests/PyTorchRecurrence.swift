import Attention
import ModelFiles
import SequenceModels

/// Runs a case of PyTorch's recurrent modules, forward and backward, and returns what is wrong: nothing if it passes.
///
/// The tolerance is 1e-5 of the largest element.
///
/// - Throws: When a tensor or an option is missing, or has no meaning.
func problemsOfPyTorchRecurrence(_ file: SafetensorsFile) throws -> [String] {
    func option<Value: LosslessStringConvertible>(_ name: String, _ absent: Value) throws -> Value {
        guard let text = file.metadataValue(name) else { return absent }
        guard let value = Value(text) else { throw ConformanceProblem("'\(name)' is '\(text)'.") }
        return value
    }
    func tensor(_ name: String) throws -> Tensor { try Tensor(file.requireTensor(named: name)) }
    func optional(_ name: String) throws -> Tensor? { try file.tensor(named: name).map { try Tensor($0) } }
    guard try option("batch_first", false) else { throw ConformanceProblem("The batch is not first.") }

    let parameterNames = Set(
        file.tensors.map(\.name).filter { $0.hasPrefix("parameter.") }.map { String($0.dropFirst(10)) })
    var unused = parameterNames
    func parameter(_ name: String) throws -> Tensor? {
        unused.remove(name)
        return try optional("parameter.\(name)")
    }
    let direction: RecurrentDirection = try option("bidirectional", false) ? .bidirectional : .forward
    var weights: [RecurrentWeights] = []
    for layer in 0..<(try option("layers", 1)) {
        for suffix in ["_l\(layer)", "_l\(layer)_reverse"].prefix(direction.count) {
            guard let input = try parameter("weight_ih\(suffix)"), let hidden = try parameter("weight_hh\(suffix)")
            else { throw ConformanceProblem("A weight of '\(suffix)' is missing.") }
            weights.append(
                RecurrentWeights(
                    input: input, hidden: hidden, inputBias: try parameter("bias_ih\(suffix)"),
                    hiddenBias: try parameter("bias_hh\(suffix)"), projection: try parameter("weight_hr\(suffix)")))
        }
    }
    guard unused.isEmpty else { throw ConformanceProblem("The parameters \(unused.sorted()) have no meaning here.") }

    func problems(of layer: some RecurrentLayer) throws -> [String] {
        let tracked = layer.tracked()
        let x = try tensor("input").tracked()
        let state = try optional("initial_hidden").map {
            RecurrentState(hidden: $0, cell: try optional("initial_cell"))
        }
        let (outputs, finalState) = tracked(x, lengths: try optional("lengths")?.integers, initialState: state)
        let parameters = tracked.parameters
        let gradients = (outputs * (try tensor("output_gradient"))).sum()
            .gradients(of: [x] + parameters.map(\.value))
        var actual = [("output", outputs), ("final_hidden", finalState.hidden), ("gradient.input.0", gradients[0])]
        if let cell = finalState.cell { actual.append(("final_cell", cell)) }
        actual += zip(parameters, gradients.dropFirst()).map { ("gradient.parameter.\($0.name)", $1) }
        let known = Set(actual.map(\.0)).union(parameters.map { "parameter.\($0.name)" })
            .union(["input", "lengths", "initial_hidden", "initial_cell", "output_gradient"])
        for tensor in file.tensors where !known.contains(tensor.name) {
            throw ConformanceProblem("The tensor '\(tensor.name)' has no meaning here.")
        }
        return try actual.compactMap { name, result in
            let expected = try tensor(name)
            let tolerance = Tolerance(relative: 0, absolute: 1e-5 * expected.largestMagnitude)
            return difference(of: result, from: expected, within: tolerance).map { "\(name) \($0)." }
        }
    }
    switch file.metadataValue("module") {
    case "torch.nn.RNN":
        let nonlinearity = try option("nonlinearity", "tanh")
        guard let activation = ["tanh": RecurrentActivation.tanh, "relu": .relu][nonlinearity] else {
            throw ConformanceProblem("The nonlinearity '\(nonlinearity)' is not known.")
        }
        return try problems(
            of: RNN(weights: weights, direction: direction, options: RNNOptions(activation: activation)))
    case "torch.nn.LSTM": return try problems(of: LSTM(weights: weights, direction: direction))
    case "torch.nn.GRU": return try problems(of: GRU(weights: weights, direction: direction))
    case let module: throw ConformanceProblem("The module '\(module ?? "")' is not known.")
    }
}
