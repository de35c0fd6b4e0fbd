import Attention
import ModelFiles
import SequenceModels

/// Runs a case of PyTorch's Transformer, forward and backward, and returns what is wrong: nothing if it passes.
///
/// The tolerance is 1e-5 of the largest element.
///
/// - Throws: When a tensor or an option is missing, or has no meaning.
func problemsOfPyTorchTransformer(_ file: SafetensorsFile) throws -> [String] {
    let module = try PyTorchTransformerCase(file)
    switch file.metadataValue("module") {
    case "torch.nn.MultiheadAttention": return try module.problemsOfAttention()
    case "torch.nn.TransformerEncoder": return try module.problemsOfStack(inputs: ["input"])
    case "torch.nn.TransformerDecoder": return try module.problemsOfStack(inputs: ["target", "memory"])
    case let name: throw ConformanceProblem("The module '\(name ?? "")' is not known.")
    }
}

private struct PyTorchTransformerCase {
    let file: SafetensorsFile
    /// By PyTorch's names.
    let parameters: [String: Tensor]
    let headCount: Int

    init(_ file: SafetensorsFile) throws {
        self.file = file
        let prefix = "parameter."
        parameters = try Dictionary(
            uniqueKeysWithValues: file.tensors.filter { $0.name.hasPrefix(prefix) }.map {
                (String($0.name.dropFirst(prefix.count)), try Tensor($0))
            })
        headCount = try Self.option("heads", of: file)
        guard try Self.option("batch_first", of: file, otherwise: true) else {
            throw ConformanceProblem("The batch is not first.")
        }
    }

    private static func option<Value: LosslessStringConvertible>(
        _ name: String, of file: SafetensorsFile, otherwise absent: Value? = nil
    ) throws -> Value {
        guard let text = file.metadataValue(name) else {
            guard let absent else { throw ConformanceProblem("'\(name)' is missing.") }
            return absent
        }
        guard let value = Value(text) else { throw ConformanceProblem("'\(name)' is '\(text)'.") }
        return value
    }

    private func tensor(_ name: String) throws -> Tensor { try Tensor(file.requireTensor(named: name)) }

    func problemsOfAttention() throws -> [String] {
        let names = ["queries", "keys_values"]
        let (queries, memory) = (try tensor(names[0]), try tensor(names[1]))
        var random = RandomStream(seed: 0)
        let attention = MultiHeadAttention(
            dimension: queries.shape[2], memoryDimension: memory.shape[2], headCount: headCount,
            hasBias: parameters["in_proj_bias"] != nil, random: &random)
        return try problems(of: attention, inputs: names) { attention, inputs in
            let trace = attention.trace(inputs[0], memory: inputs[1], recording: 0..<inputs[0].shape[1])
            return [("output", trace.attentionOutput), ("weights", trace.attentionWeights ?? inputs[0])]
        }
    }

    func problemsOfStack(inputs names: [String]) throws -> [String] {
        let layerCount =
            1
            + (parameters.keys.compactMap { $0.split(separator: ".").dropFirst().first.flatMap { Int($0) } }.max() ?? -1)
        let activation: String = try Self.option("activation", of: file)
        let kinds: [String: FeedForward.Kind] = ["relu": .relu, "gelu": .gelu]
        guard let kind = kinds[activation] else { throw ConformanceProblem("'activation' is '\(activation)'.") }
        guard let hidden = parameters["layers.0.linear1.weight"], layerCount > 0 else {
            throw ConformanceProblem("There is no layer.")
        }
        let configuration = TransformerConfiguration(
            modelDimension: hidden.shape[1], layerCount: layerCount, headCount: headCount,
            feedForwardDimension: hidden.shape[0], vocabularySize: 1, contextLength: 1,
            normPlacement: try Self.option("norm_first", of: file) ? .before : .after,
            hasFinalNorm: parameters["norm.weight"] != nil, feedForward: kind,
            hasBiases: parameters["layers.0.linear1.bias"] != nil)
        var random = RandomStream(seed: 0)
        let stack = TransformerStack(configuration, attendsToMemory: names.count == 2, random: &random)
        var mask: AttentionMask = try Self.option("causal", of: file, otherwise: false) ? .causal(offset: 0) : .none
        if file.tensor(named: "padding") != nil {
            let padding = try tensor("padding")
            let isSeen = Tensor(padding.integers.map { $0 == 0 }, shape: [padding.shape[0], 1, 1, padding.shape[1]])
            mask = mask & .boolean(isSeen)
        }
        return try problems(of: stack, inputs: names) { [mask] stack, inputs in
            [("output", stack(inputs[0], memory: inputs.count > 1 ? inputs[1] : nil, mask: mask))]
        }
    }

    /// Compares the outputs, of which the first is differentiated, and the gradients of inputs and parameters.
    private func problems<Module: Layer>(
        of module: Module, inputs names: [String], _ run: (Module, [Tensor]) -> [(name: String, value: Tensor)]
    ) throws -> [String] {
        let module = try module.replacingParameters(named: PyTorchAttentionNames.separated(parameters)).tracked()
        let inputs = try names.map { try tensor($0).tracked() }
        let outputs = run(module, inputs)
        let gradients = (outputs[0].value * (try tensor("output_gradient"))).sum()
            .gradients(of: inputs + module.parameters.map(\.value))
        var actual = outputs
        for index in inputs.indices { actual.append(("gradient.input.\(index)", gradients[index])) }
        let parameterGradients = zip(module.parameters.map(\.name), gradients.dropFirst(inputs.count))
        for (name, gradient) in PyTorchAttentionNames.joined(Dictionary(uniqueKeysWithValues: parameterGradients)) {
            actual.append(("gradient.parameter.\(name)", gradient))
        }
        let known = Set(actual.map(\.name)).union(parameters.keys.map { "parameter.\($0)" })
            .union(names + ["padding", "output_gradient"])
        for tensor in file.tensors where !known.contains(tensor.name) {
            throw ConformanceProblem("The tensor '\(tensor.name)' has no meaning here.")
        }
        return try actual.compactMap { name, result in
            let expected = try tensor(name)
            let tolerance = Tolerance(relative: 0, absolute: 1e-5 * expected.largestMagnitude)
            return difference(of: result, from: expected, within: tolerance).map { "\(name) \($0)." }
        }
    }
}
