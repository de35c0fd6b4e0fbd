/// What one step of Adam does to every element of a parameter.
struct AdamStep {
    let learningRate: Double
    let beta1: Double
    let beta2: Double
    let epsilon: Double
    /// Added to the gradient times the parameter.
    let addedDecay: Double
    /// What is kept of the parameter.
    let kept: Double
    /// The number of this step, from 1.
    let count: Int
    let gradientScale: Double

    /// The learning rate by what the first moment, begun with zeros, lacks.
    var stepSize: Double { learningRate / (1 - power(beta1)) }
    /// What the root of the second moment lacks.
    var inverseRootCorrection: Double { 1 / (1 - power(beta2)).squareRoot() }

    private func power(_ base: Double) -> Double { Double.exp(Double(count) * Double.log(base)) }
}

/// What one step of gradient descent does to every element of a parameter.
struct GradientDescentStep {
    let learningRate: Double
    let momentum: Double
    let isNesterov: Bool
    let weightDecay: Double
    let gradientScale: Double
}

extension Tensor {
    /// Takes a step of Adam or AdamW in place, as PyTorch's do; the result has no past.
    ///
    /// Kingma and Ba, "Adam", 2015 (arXiv:1412.6980), algorithm 1; Loshchilov and Hutter, "Decoupled Weight Decay
    /// Regularization", 2019 (arXiv:1711.05101), algorithm 2.
    ///
    /// - Parameters:
    ///   - gradient: Of this parameter, of its shape and type.
    ///   - firstMoment: The running mean of the gradient: zeros before the first step.
    ///   - secondMoment: The running mean of its square: zeros before the first step.
    ///   - learningRate: How far a step goes.
    ///   - beta1: What is kept of the first moment, below 1.
    ///   - beta2: What is kept of the second moment, below 1.
    ///   - epsilon: Added to the root of the second moment.
    ///   - weightDecay: How much of the parameter is taken away.
    ///   - isDecayDecoupled: Whether it is taken from the parameter itself (AdamW), or added to the gradient (Adam).
    ///   - stepCount: The number of this step, from 1.
    ///   - gradientScale: Multiplies the gradient: less than 1 where its norm is clipped.
    package mutating func adamStep(
        gradient: Tensor, firstMoment: inout Tensor, secondMoment: inout Tensor, learningRate: Double, beta1: Double,
        beta2: Double, epsilon: Double, weightDecay: Double, isDecayDecoupled: Bool = true, stepCount: Int,
        gradientScale: Double = 1
    ) {
        requireSame(gradient, "gradient")
        requireSame(firstMoment, "first moment")
        requireSame(secondMoment, "second moment")
        require(stepCount >= 1, "Steps are counted from 1, not from \(stepCount).")
        makeUnique()
        firstMoment.makeUnique()
        secondMoment.makeUnique()
        let step = AdamStep(
            learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon,
            addedDecay: isDecayDecoupled ? 0 : weightDecay, kept: isDecayDecoupled ? 1 - learningRate * weightDecay : 1,
            count: stepCount, gradientScale: gradientScale)
        if elementType == .float64 {
            adamStep(gradient, firstMoment, secondMoment, step, as: Double.self)
        } else {
            adamStep(gradient, firstMoment, secondMoment, step, as: Float.self)
        }
    }

    private func adamStep<Scalar: KernelScalar>(
        _ gradient: Tensor, _ firstMoment: Tensor, _ secondMoment: Tensor, _ step: AdamStep, as type: Scalar.Type
    ) {
        let gradient = gradient.detached.contiguous()
        let (parameters, gradients) = (pointer(as: Scalar.self), gradient.pointer(as: Scalar.self))
        let (first, second) = (firstMoment.pointer(as: Scalar.self), secondMoment.pointer(as: Scalar.self))
        forEachPiece(of: elementCount) { piece in
            let start = piece.lowerBound
            Scalar.adamStep(parameters + start, gradients + start, first + start, second + start, piece.count, step)
        }
        withExtendedLifetime(gradient) {}
    }

    /// Takes a step of gradient descent in place: `p -= learningRate · g`; the result has no past.
    ///
    /// - Parameters:
    ///   - gradient: Of this parameter, of its shape and type.
    ///   - learningRate: How far a step goes.
    ///   - weightDecay: How much of the parameter is added to the gradient.
    ///   - gradientScale: Multiplies the gradient: less than 1 where its norm is clipped.
    package mutating func sgdStep(
        gradient: Tensor, learningRate: Double, weightDecay: Double = 0, gradientScale: Double = 1
    ) {
        let step = GradientDescentStep(
            learningRate: learningRate, momentum: 0, isNesterov: false, weightDecay: weightDecay,
            gradientScale: gradientScale)
        sgdStep(gradient, nil, step)
    }

    /// Takes a step of gradient descent with momentum in place: `v = momentum · v + g`, `p -= learningRate · v`.
    ///
    /// Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, as PyTorch's `SGD`
    /// writes it: the learning rate multiplies the velocity, not the gradient that enters it.
    ///
    /// - Parameters:
    ///   - gradient: Of this parameter, of its shape and type.
    ///   - velocity: What the steps so far add up to: zeros before the first.
    ///   - learningRate: How far a step goes.
    ///   - momentum: What is kept of the velocity.
    ///   - isNesterov: Whether the parameter follows `g + momentum · v`.
    ///   - weightDecay: How much of the parameter is added to the gradient.
    ///   - gradientScale: Multiplies the gradient: less than 1 where its norm is clipped.
    package mutating func sgdStep(
        gradient: Tensor, velocity: inout Tensor, learningRate: Double, momentum: Double, isNesterov: Bool = false,
        weightDecay: Double = 0, gradientScale: Double = 1
    ) {
        requireSame(velocity, "velocity")
        velocity.makeUnique()
        let step = GradientDescentStep(
            learningRate: learningRate, momentum: momentum, isNesterov: isNesterov, weightDecay: weightDecay,
            gradientScale: gradientScale)
        sgdStep(gradient, velocity, step)
    }

    private mutating func sgdStep(_ gradient: Tensor, _ velocity: Tensor?, _ step: GradientDescentStep) {
        requireSame(gradient, "gradient")
        makeUnique()
        if elementType == .float64 {
            sgdStep(gradient, velocity, step, as: Double.self)
        } else {
            sgdStep(gradient, velocity, step, as: Float.self)
        }
    }

    private func sgdStep<Scalar: KernelScalar>(
        _ gradient: Tensor, _ velocity: Tensor?, _ step: GradientDescentStep, as type: Scalar.Type
    ) {
        let gradient = gradient.detached.contiguous()
        let (parameters, gradients) = (pointer(as: Scalar.self), gradient.pointer(as: Scalar.self))
        let velocities = velocity?.pointer(as: Scalar.self)
        forEachPiece(of: elementCount) { piece in
            let start = piece.lowerBound
            Scalar.momentumStep(
                parameters + start, gradients + start, velocities.map { $0 + start }, piece.count, step)
        }
        withExtendedLifetime((gradient, velocity)) {}
    }

    /// Multiplies every element by a number in place; the result has no past.
    ///
    /// - Parameter factor: Any number.
    package mutating func scale(by factor: Double) {
        require(elementType == gradientType, "A tensor of \(elementType) cannot be scaled in place.")
        makeUnique()
        if elementType == .float64 {
            scale(by: factor, as: Double.self)
        } else {
            scale(by: Float(factor), as: Float.self)
        }
    }

    private func scale<Scalar: KernelScalar>(by factor: Scalar, as type: Scalar.Type) {
        let elements = pointer(as: Scalar.self)
        forEachPiece(of: elementCount) { Scalar.scale(elements + $0.lowerBound, $0.count, by: factor) }
    }

    /// Returns the sum of the squares of all elements, in `Double` and in an order that the shape alone gives.
    ///
    /// - Returns: NaN or infinite where an element is.
    package func sumOfSquares() -> Double {
        elementType == .float64
            ? sumOfPieces(as: Double.self) { Double.sumOfSquares($0, $1) }
            : sumOfPieces(as: Float.self) { Float.sumOfSquares($0, $1) }
    }

    private func requireSame(_ other: Tensor, _ name: String) {
        require(
            other.shape == shape && other.elementType == elementType && elementType == gradientType,
            "A parameter of \(elementType) \(shape) has a \(name) of \(other.elementType) \(other.shape); both must be "
                + "float32 or float64, and of one shape.")
    }
}
