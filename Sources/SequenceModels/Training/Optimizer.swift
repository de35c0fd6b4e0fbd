public import Attention

/// How parameters follow their gradients.
public enum OptimizerKind: Sendable, Hashable {
    /// `p -= lr · v` with the velocity `v = momentum · v + g`. Sutskever et al., "On the importance of initialization
    /// and momentum in deep learning", 2013, as PyTorch writes it.
    case sgd(momentum: Double = 0)
    /// Kingma and Ba, "Adam", 2015 (arXiv:1412.6980), algorithm 1.
    case adam(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8)
    /// Adam with the decay of the weights apart from the gradient. Loshchilov and Hutter, "Decoupled Weight Decay
    /// Regularization", 2019 (arXiv:1711.05101), algorithm 2.
    case adamW(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0.01)

    /// How many tensors of a parameter's shape are kept for each parameter.
    package var momentCount: Int {
        switch self {
        case .sgd(let momentum): momentum == 0 ? 0 : 1
        case .adam, .adamW: 2
        }
    }
}

/// Parameters' gradients turned into steps, with what is remembered from step to step.
///
/// A value: a copy is a checkpoint. Steps are float32 and have the same bits for any number of threads.
public struct Optimizer: Sendable {
    /// How parameters follow their gradients.
    public let kind: OptimizerKind
    /// How many steps were made.
    public private(set) var stepCount: Int
    /// `[momentCount][parameters]`: what is remembered.
    public private(set) var moments: [[Tensor]]
    /// Whether a parameter's weight decays, by its name and shape: by default matrices and kernels do, and
    /// biases, norms (weight norm's magnitudes among them) and embeddings do not.
    public var decays: @Sendable (_ name: String, _ shape: [Int]) -> Bool = { name, shape in
        shape.count >= 2 && !name.contains("embedding") && !name.hasSuffix("weight_g")
    }

    /// Creates an optimizer that has made no step.
    ///
    /// - Parameter kind: How parameters follow their gradients.
    public init(_ kind: OptimizerKind) {
        self.kind = kind
        stepCount = 0
        moments = []
    }

    /// Creates an optimizer from what a checkpoint holds.
    ///
    /// - Parameters:
    ///   - kind: How parameters follow their gradients.
    ///   - stepCount: How many steps were made; at least 0.
    ///   - moments: ``moments`` after them.
    public init(_ kind: OptimizerKind, stepCount: Int, moments: [[Tensor]]) {
        require(
            moments.isEmpty || moments.count == kind.momentCount,
            "There are \(moments.count) moments for an optimizer of \(kind.momentCount).")
        self.kind = kind
        self.stepCount = stepCount
        self.moments = moments
    }

    /// Makes one step.
    ///
    /// - Parameters:
    ///   - layer: Whose parameters to change.
    ///   - gradients: One per parameter, in the order that they are visited.
    ///   - learningRate: At least 0.
    ///   - gradientScale: Multiplies the gradients: see ``gradientScale(norm:maximumNorm:)``.
    public mutating func step<Model: Layer>(
        _ layer: inout Model, gradients: [Tensor], learningRate: Double, gradientScale: Double = 1
    ) {
        stepCount += 1
        if moments.isEmpty {
            moments = (0..<kind.momentCount).map { _ in gradients.map { Tensor(zeros: $0.shape) } }
        }
        var index = 0
        // Given up here, so that they may be written in place.
        var first = moments.first ?? []
        var second = moments.count > 1 ? moments[1] : []
        moments = []
        layer.visitParameters { name, parameter in
            require(
                index < gradients.count && gradients[index].shape == parameter.shape,
                "\(name) has shape \(parameter.shape), but its gradient has "
                    + "\(index < gradients.count ? gradients[index].shape : []).")
            let gradient = gradients[index]
            switch kind {
            case .sgd(let momentum):
                if momentum == 0 {
                    parameter.sgdStep(
                        gradient: gradient, learningRate: learningRate, gradientScale: gradientScale)
                } else {
                    parameter.sgdStep(
                        gradient: gradient, velocity: &first[index], learningRate: learningRate,
                        momentum: momentum, gradientScale: gradientScale)
                }
            case .adam(let beta1, let beta2, let epsilon):
                parameter.adamStep(
                    gradient: gradient, firstMoment: &first[index], secondMoment: &second[index],
                    learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: 0,
                    stepCount: stepCount, gradientScale: gradientScale)
            case .adamW(let beta1, let beta2, let epsilon, let weightDecay):
                parameter.adamStep(
                    gradient: gradient, firstMoment: &first[index], secondMoment: &second[index],
                    learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon,
                    weightDecay: decays(name, parameter.shape) ? weightDecay : 0, stepCount: stepCount,
                    gradientScale: gradientScale)
            }
            index += 1
        }
        moments = Array([first, second].prefix(kind.momentCount))
        require(index == gradients.count, "There are \(gradients.count) gradients for \(index) parameters.")
    }
}

extension Optimizer {
    /// Returns what gradients are multiplied by so that their norm does not exceed a limit.
    ///
    /// - Parameters:
    ///   - norm: Of all gradients together: see ``globalNorm(_:)``.
    ///   - maximumNorm: The largest norm to let through; above 0.
    /// - Returns: At most 1; 1 where the norm is NaN.
    public static func gradientScale(norm: Double, maximumNorm: Double) -> Double {
        require(maximumNorm > 0, "The largest norm is \(maximumNorm); it must be above 0.")
        // PyTorch's 1e-6 keeps the quotient finite.
        let factor = maximumNorm / (norm + 1e-6)
        return factor < 1 ? factor : 1
    }
}

/// The gradients' norm, all elements taken together, and the gradients scaled down to a largest norm.
///
/// Pascanu et al., "On the difficulty of training recurrent neural networks", 2013 (arXiv:1211.5063), algorithm 1. To be
/// called after the backward pass: before it there is nothing to clip.
///
/// - Parameters:
///   - gradients: Float32 tensors, scaled in place.
///   - maximumNorm: The largest norm to let through; above 0.
/// - Returns: The norm before, summed in `Double` in a fixed order; NaN or infinite where a gradient is.
@discardableResult
public func clipByGlobalNorm(_ gradients: inout [Tensor], maximumNorm: Double) -> Double {
    let norm = globalNorm(gradients)
    let factor = Optimizer.gradientScale(norm: norm, maximumNorm: maximumNorm)
    if factor < 1 {
        for index in gradients.indices { gradients[index].scale(by: factor) }
    }
    return norm
}

/// Returns the gradients' norm, all elements taken together.
///
/// - Parameter gradients: Float32 tensors.
/// - Returns: The square root of the sum of squares.
public func globalNorm(_ gradients: [Tensor]) -> Double {
    gradients.reduce(0) { $0 + $1.sumOfSquares() }.squareRoot()
}
