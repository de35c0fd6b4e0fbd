internal import CAttentionKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Returns `max(x, 0)` element by element: the rectified linear unit.
///
/// Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010. Its derivative at 0 is 0.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func relu(_ x: Tensor) -> Tensor { activated(x, by: ReLU.self) }

/// Returns the hyperbolic tangent element by element.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func tanh(_ x: Tensor) -> Tensor { activated(x, by: HyperbolicTangent.self) }

/// Returns `1 / (1 + e⁻ˣ)` element by element: the logistic function.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func sigmoid(_ x: Tensor) -> Tensor { activated(x, by: Sigmoid.self) }

/// Returns `x · Φ(x)` element by element, Φ the standard normal distribution: exact, through erf.
///
/// ``geluTanh(_:)`` is a hundred times as fast.
///
/// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016 (arXiv:1606.08415), section 2.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func gelu(_ x: Tensor) -> Tensor { activated(x, by: GELU.self) }

/// Returns `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))` element by element: GELU approximated by a tanh.
///
/// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016 (arXiv:1606.08415), section 2.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func geluTanh(_ x: Tensor) -> Tensor { activated(x, by: GELUTanh.self) }

/// Returns `x / (1 + e⁻ˣ)` element by element, also called swish.
///
/// Elfwing et al., "Sigmoid-Weighted Linear Units", 2017 (arXiv:1702.03118).
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func silu(_ x: Tensor) -> Tensor { activated(x, by: SiLU.self) }

/// A function of one number with its derivative, computed for a piece of a tensor at a time.
private protocol Activation {
    /// Whether the derivative is computed from the function's result; else it is from its argument.
    static var isDifferentiatedByResult: Bool { get }
    /// Writes `f(x)`.
    static func apply<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int)
    /// Writes `gradient · f′`, with f′ by `saved`: the result or the argument.
    static func differentiate<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ gradient: UnsafePointer<Scalar>, _ saved: UnsafePointer<Scalar>,
        _ count: Int)
}

private func activated<Function: Activation>(_ x: Tensor, by function: Function.Type) -> Tensor {
    x.elementType == .float64
        ? activated(x, by: function, as: Double.self) : activated(x, by: function, as: Float.self)
}

private func activated<Function: Activation, Scalar: ActivationScalar>(
    _ x: Tensor, by function: Function.Type, as type: Scalar.Type
) -> Tensor {
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let (out, source) = (result.pointer(as: Scalar.self), UnsafePointer(input.pointer(as: Scalar.self)))
    forEachPiece(of: input.elementCount) { range in
        Function.apply(out + range.lowerBound, source + range.lowerBound, range.count)
    }
    withExtendedLifetime(input) {}
    let saved = Function.isDifferentiatedByResult ? result : input
    return result.recorded(from: [x]) { gradient, _ in
        let gradient = gradient.contiguous()
        let inputGradient = Tensor(uninitialized: saved.shape, elementType: Scalar.elementType)
        let out = inputGradient.pointer(as: Scalar.self)
        let gradients = UnsafePointer(gradient.pointer(as: Scalar.self))
        let numbers = UnsafePointer(saved.pointer(as: Scalar.self))
        forEachPiece(of: saved.elementCount) { range in
            let start = range.lowerBound
            Function.differentiate(out + start, gradients + start, numbers + start, range.count)
        }
        withExtendedLifetime((gradient, saved)) {}
        return [inputGradient]
    }
}

/// Calls `body` with ranges that make up `0..<count`, in parallel; each is small enough for the first-level cache.
private func forEachPiece(of count: Int, _ body: (Range<Int>) -> Void) {
    let pieceLength = 4096
    parallel(blocks(of: count, by: pieceLength)) { piece in body(range(piece, by: pieceLength, upTo: count)) }
}

// MARK: - The functions

private enum ReLU: Activation {
    static let isDifferentiatedByResult = true

    static func apply<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int
    ) {
        for index in 0..<count { out[index] = x[index] < 0 ? 0 : x[index] }
    }

    static func differentiate<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ gradient: UnsafePointer<Scalar>, _ saved: UnsafePointer<Scalar>,
        _ count: Int
    ) {
        for index in 0..<count {
            // Loaded either way: a branch would be guessed wrong every other time.
            let gradient = gradient[index]
            out[index] = saved[index] > 0 ? gradient : 0
        }
    }
}

private enum HyperbolicTangent: Activation {
    static let isDifferentiatedByResult = true

    static func apply<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int
    ) {
        Scalar.tanh(out, x, count)
    }

    static func differentiate<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ gradient: UnsafePointer<Scalar>, _ saved: UnsafePointer<Scalar>,
        _ count: Int
    ) {
        for index in 0..<count { out[index] = gradient[index] * (1 - saved[index] * saved[index]) }
    }
}

private enum Sigmoid: Activation {
    static let isDifferentiatedByResult = true

    static func apply<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int
    ) {
        for index in 0..<count { out[index] = -x[index] }
        Scalar.exp(out, out, count)
        for index in 0..<count { out[index] = 1 / (1 + out[index]) }
    }

    static func differentiate<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ gradient: UnsafePointer<Scalar>, _ saved: UnsafePointer<Scalar>,
        _ count: Int
    ) {
        for index in 0..<count { out[index] = gradient[index] * (saved[index] * (1 - saved[index])) }
    }
}

private enum GELU: Activation {
    static let isDifferentiatedByResult = false

    static func apply<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int
    ) {
        for index in 0..<count {
            // erfc keeps the digits of small tails, where 1 + erf would cancel.
            out[index] = Scalar(0.5 * Double(x[index]) * erfc(-Double(x[index]) * 0.5.squareRoot()))
        }
    }

    static func differentiate<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ gradient: UnsafePointer<Scalar>, _ saved: UnsafePointer<Scalar>,
        _ count: Int
    ) {
        // forward: x Φ(x), of derivative Φ(x) + x φ(x)
        for index in 0..<count {
            let x = clamped(saved[index], to: 40)
            out[index] = -x * x / 2
        }
        Scalar.exp(out, out, count)
        let density = Scalar(1 / (2 * Double.pi).squareRoot())
        for index in 0..<count {
            let x = clamped(saved[index], to: 40)
            let distribution = Scalar.normalDistribution(x, exponential: out[index])
            out[index] = gradient[index] * (distribution + x * density * out[index])
        }
    }
}

private enum GELUTanh: Activation {
    static let isDifferentiatedByResult = false

    static func apply<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int
    ) {
        Scalar.geluTanh(out, x, count)
    }

    static func differentiate<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ gradient: UnsafePointer<Scalar>, _ saved: UnsafePointer<Scalar>,
        _ count: Int
    ) {
        // forward: x σ(2u) with u = √(2/π) (x + 0.044715 x³), of derivative σ(2u) + 2x σ(2u) (1 - σ(2u)) u′
        let (factor, cubic) = (Scalar((2 / Double.pi).squareRoot()), Scalar(0.044715))
        for index in 0..<count {
            let x = clamped(saved[index], to: 32)
            out[index] = -2 * factor * x * (1 + cubic * x * x)
        }
        Scalar.exp(out, out, count)
        for index in 0..<count {
            let x = clamped(saved[index], to: 32)
            let sigmoid = 1 / (1 + out[index])
            let slope = 2 * factor * (1 + 3 * cubic * x * x)
            out[index] = gradient[index] * (sigmoid + x * sigmoid * (1 - sigmoid) * slope)
        }
    }
}

private enum SiLU: Activation {
    static let isDifferentiatedByResult = false

    static func apply<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int
    ) {
        Scalar.silu(out, x, count)
    }

    static func differentiate<Scalar: ActivationScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ gradient: UnsafePointer<Scalar>, _ saved: UnsafePointer<Scalar>,
        _ count: Int
    ) {
        // forward: x σ(x), of derivative σ(x) + x σ(x) (1 - σ(x))
        for index in 0..<count { out[index] = -clamped(saved[index], to: 800) }
        Scalar.exp(out, out, count)
        for index in 0..<count {
            let x = clamped(saved[index], to: 800)
            let sigmoid = 1 / (1 + out[index])
            out[index] = gradient[index] * (sigmoid + x * sigmoid * (1 - sigmoid))
        }
    }
}

/// Returns `x` within ±bound, beyond which a derivative is exactly 0 or 1, so that nothing overflows; NaN stays.
@inline(__always)
private func clamped<Scalar: ActivationScalar>(_ x: Scalar, to bound: Scalar) -> Scalar {
    let above = x < -bound ? -bound : x
    return above > bound ? bound : above
}

// MARK: - Float and Double

/// What activations are made of, in `Float` and `Double`.
private protocol ActivationScalar: KernelScalar {
    /// Writes eˣ; `out` may be `x`, here and below.
    static func exp(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func tanh(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func silu(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    static func geluTanh(_ out: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ count: Int)
    /// Returns Φ(x), given `exp(-x²/2)`.
    static func normalDistribution(_ x: Self, exponential: Self) -> Self
}

extension Float: ActivationScalar {
    fileprivate static func exp(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.exp(out, x, count)
    }

    fileprivate static func tanh(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.tanh(out, x, count)
    }

    fileprivate static func silu(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.silu(out, x, count)
    }

    fileprivate static func geluTanh(_ out: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ count: Int) {
        Kernels.current.gelu_tanh(out, x, count)
    }

    /// Good to 1.5e-7, as a derivative's summand has to be: Hastings's formula, number 7.1.26 in Abramowitz and Stegun,
    /// "Handbook of Mathematical Functions", 1964.
    @inline(__always)
    fileprivate static func normalDistribution(_ x: Float, exponential: Float) -> Float {
        let t = 1 / (1 + 0.3275911 * abs(x) * Float(0.5).squareRoot())
        let polynomial =
            ((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592
        let tail = 0.5 * polynomial * t * exponential
        return x < 0 ? tail : 1 - tail
    }
}

extension Double: ActivationScalar {
    fileprivate static func exp(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        for index in 0..<count { out[index] = exp(x[index]) }
    }

    fileprivate static func tanh(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        for index in 0..<count { out[index] = tanh(x[index]) }
    }

    fileprivate static func silu(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        for index in 0..<count { out[index] = x[index] == -.infinity ? 0 : x[index] / (1 + exp(-x[index])) }
    }

    fileprivate static func geluTanh(_ out: UnsafeMutablePointer<Double>, _ x: UnsafePointer<Double>, _ count: Int) {
        let factor = (2 / Double.pi).squareRoot()
        for index in 0..<count {
            let inner = factor * (x[index] + 0.044715 * x[index] * x[index] * x[index])
            out[index] = x[index] == -.infinity ? 0 : x[index] / (1 + exp(-2 * inner))
        }
    }

    fileprivate static func normalDistribution(_ x: Double, exponential: Double) -> Double {
        0.5 * erfc(-x * 0.5.squareRoot())
    }
}
