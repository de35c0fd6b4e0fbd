/// A function that a recurrent layer applies to each sum: those that ONNX knows.
public enum RecurrentActivation: Sendable, Hashable {
    /// The hyperbolic tangent.
    case tanh
    /// `1 / (1 + e⁻ˣ)`.
    case sigmoid
    /// `max(0, x)`.
    case relu
    /// `alpha x + beta`.
    case affine(alpha: Double, beta: Double)
    /// `x` from 0 on, else `alpha x`.
    case leakyRelu(alpha: Double)
    /// `x` above `alpha`, else 0.
    case thresholdedRelu(alpha: Double)
    /// `alpha tanh(beta x)`.
    case scaledTanh(alpha: Double, beta: Double)
    /// `alpha x + beta`, but from 0 to 1.
    case hardSigmoid(alpha: Double, beta: Double)
    /// `x` from 0 on, else `alpha (eˣ - 1)`.
    case elu(alpha: Double)
    /// `x / (1 + |x|)`.
    case softsign
    /// `log(1 + eˣ)`.
    case softplus

    /// Whether the derivative is told from the function's value alone.
    var isInvertible: Bool {
        switch self {
        case .tanh, .sigmoid, .relu: true
        default: false
        }
    }

    /// Replaces each element by its function.
    func apply<Scalar: KernelScalar>(to x: UnsafeMutablePointer<Scalar>, count: Int) {
        switch self {
        case .tanh: Scalar.tanh(x, x, count)
        case .sigmoid: Scalar.sigmoid(x, x, count)
        case .relu: Scalar.relu(x, x, count)
        case .affine(let alpha, let beta):
            for index in 0..<count { x[index] = Scalar(alpha) * x[index] + Scalar(beta) }
        case .leakyRelu(let alpha):
            for index in 0..<count where x[index] < 0 { x[index] *= Scalar(alpha) }
        case .thresholdedRelu(let alpha):
            for index in 0..<count where x[index] <= Scalar(alpha) { x[index] = 0 }
        case .scaledTanh(let alpha, let beta):
            for index in 0..<count { x[index] *= Scalar(beta) }
            Scalar.tanh(x, x, count)
            for index in 0..<count { x[index] *= Scalar(alpha) }
        case .hardSigmoid(let alpha, let beta):
            for index in 0..<count { x[index] = min(max(Scalar(alpha) * x[index] + Scalar(beta), 0), 1) }
        case .elu(let alpha):
            for index in 0..<count where x[index] < 0 { x[index] = Scalar(alpha) * (Scalar.exp(x[index]) - 1) }
        case .softsign:
            for index in 0..<count { x[index] /= 1 + abs(x[index]) }
        case .softplus:
            // log(1 + eˣ) = max(x, 0) + log(1 + e⁻|ˣ|), where nothing overflows.
            for index in 0..<count { x[index] = max(x[index], 0) + Scalar.log(1 + Scalar.exp(-abs(x[index]))) }
        }
    }

    /// Multiplies each gradient of a value by the derivative, where `sums` is what the function was applied to, read only
    /// if it is not ``isInvertible``, and `values` what came of it.
    func applyBackward<Scalar: KernelScalar>(
        to gradient: UnsafeMutablePointer<Scalar>, sums: UnsafePointer<Scalar>, values: UnsafePointer<Scalar>,
        count: Int
    ) {
        switch self {
        case .tanh: Scalar.tanhGradient(gradient, values, gradient, count)
        case .sigmoid: Scalar.sigmoidGradient(gradient, values, gradient, count)
        case .relu: Scalar.reluGradient(gradient, values, gradient, count)
        case .affine(let alpha, _):
            for index in 0..<count { gradient[index] *= Scalar(alpha) }
        case .leakyRelu(let alpha):
            for index in 0..<count where sums[index] < 0 { gradient[index] *= Scalar(alpha) }
        case .thresholdedRelu(let alpha):
            for index in 0..<count where sums[index] <= Scalar(alpha) { gradient[index] = 0 }
        case .scaledTanh(let alpha, let beta):
            for index in 0..<count {
                let tanh = Scalar.tanh(Scalar(beta) * sums[index])
                gradient[index] *= Scalar(alpha * beta) * (1 - tanh * tanh)
            }
        case .hardSigmoid(let alpha, _):
            for index in 0..<count { gradient[index] *= values[index] > 0 && values[index] < 1 ? Scalar(alpha) : 0 }
        case .elu(let alpha):
            for index in 0..<count where sums[index] < 0 { gradient[index] *= values[index] + Scalar(alpha) }
        case .softsign:
            for index in 0..<count {
                let size = 1 + abs(sums[index])
                gradient[index] /= size * size
            }
        case .softplus:
            for index in 0..<count { gradient[index] *= 1 / (1 + Scalar.exp(-sums[index])) }
        }
    }
}

/// In place x = x, but from -bound to bound; NaN stays NaN.
func clip<Scalar: KernelScalar>(_ x: UnsafeMutablePointer<Scalar>, count: Int, to bound: Scalar) {
    for index in 0..<count {
        if x[index] > bound { x[index] = bound }
        if x[index] < -bound { x[index] = -bound }
    }
}

/// Sets the gradient of each sum that was clipped to 0.
func clipBackward<Scalar: KernelScalar>(
    _ gradient: UnsafeMutablePointer<Scalar>, sums: UnsafePointer<Scalar>, count: Int, to bound: Scalar
) {
    for index in 0..<count where abs(sums[index]) > bound { gradient[index] = 0 }
}
