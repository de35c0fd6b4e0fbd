/// Returns `max(x, 0)` element by element: the rectified linear unit.
///
/// Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010. Its derivative at 0 is 0.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func relu(_ x: Tensor) -> Tensor { activated(x, by: .relu) }

/// Returns the hyperbolic tangent element by element.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func tanh(_ x: Tensor) -> Tensor { activated(x, by: .tanh) }

/// Returns `1 / (1 + e⁻ˣ)` element by element: the logistic function.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func sigmoid(_ x: Tensor) -> Tensor { activated(x, by: .sigmoid) }

/// Returns `x · Φ(x)` element by element, Φ the standard normal distribution: exact, through erf.
///
/// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016 (arXiv:1606.08415), section 2.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func gelu(_ x: Tensor) -> Tensor { activated(x, by: .gelu) }

/// Returns `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))` element by element: GELU approximated by a tanh.
///
/// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016 (arXiv:1606.08415), section 2.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func geluTanh(_ x: Tensor) -> Tensor { activated(x, by: .geluTanh) }

/// Returns `x / (1 + e⁻ˣ)` element by element, also called swish.
///
/// Elfwing et al., "Sigmoid-Weighted Linear Units", 2017 (arXiv:1702.03118).
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func silu(_ x: Tensor) -> Tensor { activated(x, by: .silu) }

/// A function of one number and its derivative, each a kernel.
private enum Activation {
    case relu, tanh, sigmoid, gelu, geluTanh, silu

    /// Whether the derivative is computed from the function's result, which what comes next keeps anyway; else it is from
    /// its argument.
    var isDifferentiatedByResult: Bool {
        switch self {
        case .relu, .tanh, .sigmoid: true
        case .gelu, .geluTanh, .silu: false
        }
    }

    /// Writes `f(x)`.
    func apply<Scalar: KernelScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ count: Int
    ) {
        switch self {
        case .relu: Scalar.relu(out, x, count)
        case .tanh: Scalar.tanh(out, x, count)
        case .sigmoid: Scalar.sigmoid(out, x, count)
        case .gelu: Scalar.gelu(out, x, count)
        case .geluTanh: Scalar.geluTanh(out, x, count)
        case .silu: Scalar.silu(out, x, count)
        }
    }

    /// Writes `gradient · f′`, with f′ by `saved`: the result or the argument.
    func differentiate<Scalar: KernelScalar>(
        _ out: UnsafeMutablePointer<Scalar>, _ saved: UnsafePointer<Scalar>, _ gradient: UnsafePointer<Scalar>,
        _ count: Int
    ) {
        switch self {
        case .relu: Scalar.reluGradient(out, saved, gradient, count)
        case .tanh: Scalar.tanhGradient(out, saved, gradient, count)
        case .sigmoid: Scalar.sigmoidGradient(out, saved, gradient, count)
        case .gelu: Scalar.geluGradient(out, saved, gradient, count)
        case .geluTanh: Scalar.geluTanhGradient(out, saved, gradient, count)
        case .silu: Scalar.siluGradient(out, saved, gradient, count)
        }
    }
}

private func activated(_ x: Tensor, by function: Activation) -> Tensor {
    x.elementType == .float64
        ? activated(x, by: function, as: Double.self) : activated(x, by: function, as: Float.self)
}

private func activated<Scalar: KernelScalar>(_ x: Tensor, by function: Activation, as type: Scalar.Type) -> Tensor {
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let (out, source) = (result.pointer(as: Scalar.self), UnsafePointer(input.pointer(as: Scalar.self)))
    forEachPiece(of: input.elementCount, by: 4096) { range in
        function.apply(out + range.lowerBound, source + range.lowerBound, range.count)
    }
    withExtendedLifetime(input) {}
    let saved = function.isDifferentiatedByResult ? result : input
    return result.recorded(from: [x]) { gradient, _ in
        let gradient = gradient.contiguous()
        let inputGradient = Tensor(uninitialized: saved.shape, elementType: Scalar.elementType)
        let out = inputGradient.pointer(as: Scalar.self)
        let gradients = UnsafePointer(gradient.pointer(as: Scalar.self))
        let numbers = UnsafePointer(saved.pointer(as: Scalar.self))
        forEachPiece(of: saved.elementCount, by: 4096) { range in
            let start = range.lowerBound
            function.differentiate(out + start, numbers + start, gradients + start, range.count)
        }
        withExtendedLifetime((gradient, saved)) {}
        return [inputGradient]
    }
}
