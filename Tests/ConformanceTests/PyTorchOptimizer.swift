import Attention
import ModelFiles
import SequenceModels

/// Runs ten steps of an optimizer on a linear classifier with clipped gradients, and returns what is wrong: nothing if
/// losses and final parameters are PyTorch's.
///
/// The tolerance is 1e-5 of the largest element.
///
/// - Throws: When a tensor or an option is missing, or has no meaning.
func problemsOfPyTorchOptimizer(_ file: SafetensorsFile) throws -> [String] {
    func tensor(_ name: String) throws -> Tensor { try Tensor(file.requireTensor(named: name)) }
    let kinds: [String: OptimizerKind] = [
        "sgd": .sgd(momentum: 0.9), "adam": .adam(), "adamw": .adamW(weightDecay: 0.1),
    ]
    let learningRates = ["sgd": 0.1, "adam": 1e-2, "adamw": 1e-2]
    guard let name = file.metadataValue("optimizer"), let kind = kinds[name], let learningRate = learningRates[name],
        let steps = file.metadataValue("steps").flatMap(Int.init),
        let maximumNorm = file.metadataValue("clip_norm").flatMap(Double.init)
    else { throw ConformanceProblem("The optimizer, its steps or its clipping are not known.") }
    let (input, targets) = (try tensor("input"), try tensor("targets").integers)
    var layer = Linear(weight: try tensor("initial.weight"), bias: try tensor("initial.bias"))
    var optimizer = Optimizer(kind)
    // PyTorch's AdamW makes every parameter decay.
    optimizer.decays = { _, _ in true }
    var losses: [Float] = []
    for _ in 0..<steps {
        let tracked = layer.tracked()
        let loss = crossEntropy(tracked(input), targets: targets)
        var gradients = loss.gradients(of: tracked.parameters.map(\.value))
        clipByGlobalNorm(&gradients, maximumNorm: maximumNorm)
        optimizer.step(&layer, gradients: gradients, learningRate: learningRate)
        losses.append(loss.floats[0])
    }
    guard let bias = layer.bias else { throw ConformanceProblem("The layer lost its bias.") }
    let results = [
        ("losses", Tensor(losses, shape: [steps])), ("final.weight", layer.weight), ("final.bias", bias),
    ]
    return try results.compactMap { name, actual in
        let expected = try tensor(name)
        let tolerance = Tolerance(relative: 0, absolute: 1e-5 * expected.largestMagnitude)
        return difference(of: actual, from: expected, within: tolerance).map { "\(name) \($0)" }
    }
}
