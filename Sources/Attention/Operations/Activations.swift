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
    static func apply<Scalar: KernelScalar>(_ out: Mutable<Scalar>, _ x: Constant<Scalar>, _ count: Int)
    /// Writes `gradient · f′`, with f′ by `saved`: the result or the argument.
    static func differentiate<Scalar: KernelScalar>(
        _ out: Mutable<Scalar>, _ saved: Constant<Scalar>, _ gradient: Constant<Scalar>, _ count: Int)
}

private typealias Mutable<Scalar> = UnsafeMutablePointer<Scalar>
private typealias Constant<Scalar> = UnsafePointer<Scalar>

private func activated<Function: Activation>(_ x: Tensor, by function: Function.Type) -> Tensor {
    x.elementType == .float64
        ? activated(x, by: function, as: Double.self) : activated(x, by: function, as: Float.self)
}

private func activated<Function: Activation, Scalar: KernelScalar>(
    _ x: Tensor, by function: Function.Type, as type: Scalar.Type
) -> Tensor {
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let (out, source) = (result.pointer(as: Scalar.self), UnsafePointer(input.pointer(as: Scalar.self)))
    forEachPiece(of: input.elementCount, by: 4096) { range in
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
        forEachPiece(of: saved.elementCount, by: 4096) { range in
            let start = range.lowerBound
            Function.differentiate(out + start, numbers + start, gradients + start, range.count)
        }
        withExtendedLifetime((gradient, saved)) {}
        return [inputGradient]
    }
}

// MARK: - The functions

private enum ReLU: Activation {
    // The result is above 0 where the argument is, and is kept anyway by what comes next.
    static let isDifferentiatedByResult = true

    static func apply<Scalar: KernelScalar>(_ out: Mutable<Scalar>, _ x: Constant<Scalar>, _ count: Int) {
        Scalar.relu(out, x, count)
    }

    static func differentiate<Scalar: KernelScalar>(
        _ out: Mutable<Scalar>, _ saved: Constant<Scalar>, _ gradient: Constant<Scalar>, _ count: Int
    ) {
        Scalar.reluGradient(out, saved, gradient, count)
    }
}

private enum HyperbolicTangent: Activation {
    static let isDifferentiatedByResult = true

    static func apply<Scalar: KernelScalar>(_ out: Mutable<Scalar>, _ x: Constant<Scalar>, _ count: Int) {
        Scalar.tanh(out, x, count)
    }

    static func differentiate<Scalar: KernelScalar>(
        _ out: Mutable<Scalar>, _ saved: Constant<Scalar>, _ gradient: Constant<Scalar>, _ count: Int
    ) {
        Scalar.tanhGradient(out, saved, gradient, count)
    }
}

private enum Sigmoid: Activation {
    static let isDifferentiatedByResult = true

    static func apply<Scalar: KernelScalar>(_ out: Mutable<Scalar>, _ x: Constant<Scalar>, _ count: Int) {
        Scalar.sigmoid(out, x, count)
    }

    static func differentiate<Scalar: KernelScalar>(
        _ out: Mutable<Scalar>, _ saved: Constant<Scalar>, _ gradient: Constant<Scalar>, _ count: Int
    ) {
        Scalar.sigmoidGradient(out, saved, gradient, count)
    }
}

private enum GELU: Activation {
    static let isDifferentiatedByResult = false

    static func apply<Scalar: KernelScalar>(_ out: Mutable<Scalar>, _ x: Constant<Scalar>, _ count: Int) {
        Scalar.gelu(out, x, count)
    }

    static func differentiate<Scalar: KernelScalar>(
        _ out: Mutable<Scalar>, _ saved: Constant<Scalar>, _ gradient: Constant<Scalar>, _ count: Int
    ) {
        Scalar.geluGradient(out, saved, gradient, count)
    }
}

private enum GELUTanh: Activation {
    static let isDifferentiatedByResult = false

    static func apply<Scalar: KernelScalar>(_ out: Mutable<Scalar>, _ x: Constant<Scalar>, _ count: Int) {
        Scalar.geluTanh(out, x, count)
    }

    static func differentiate<Scalar: KernelScalar>(
        _ out: Mutable<Scalar>, _ saved: Constant<Scalar>, _ gradient: Constant<Scalar>, _ count: Int
    ) {
        Scalar.geluTanhGradient(out, saved, gradient, count)
    }
}

private enum SiLU: Activation {
    static let isDifferentiatedByResult = false

    static func apply<Scalar: KernelScalar>(_ out: Mutable<Scalar>, _ x: Constant<Scalar>, _ count: Int) {
        Scalar.silu(out, x, count)
    }

    static func differentiate<Scalar: KernelScalar>(
        _ out: Mutable<Scalar>, _ saved: Constant<Scalar>, _ gradient: Constant<Scalar>, _ count: Int
    ) {
        Scalar.siluGradient(out, saved, gradient, count)
    }
}
