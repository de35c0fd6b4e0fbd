internal import CAttentionKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Returns `x · Φ(x)` element by element, Φ the standard normal distribution: exact, through erf.
///
/// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016 (arXiv:1606.08415), section 2.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A float32 tensor of the same shape.
public func gelu(_ x: Tensor) -> Tensor {
    mapPieces(x) { out, x, count in
        for index in 0..<count {
            // erfc keeps the digits of small tails, where 1 + erf would cancel.
            out[index] = Float(0.5 * Double(x[index]) * erfc(-Double(x[index]) * 0.5.squareRoot()))
        }
    }
}

/// Returns `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))` element by element: GELU approximated by a tanh.
///
/// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016 (arXiv:1606.08415), section 2.
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A float32 tensor of the same shape.
public func geluTanh(_ x: Tensor) -> Tensor {
    mapPieces(x) { Kernels.current.gelu_tanh($0, $1, $2) }
}

/// Returns `x / (1 + e⁻ˣ)` element by element, also called swish.
///
/// Elfwing et al., "Sigmoid-Weighted Linear Units", 2017 (arXiv:1702.03118).
///
/// - Parameter x: A floating-point tensor.
/// - Returns: A float32 tensor of the same shape.
public func silu(_ x: Tensor) -> Tensor {
    mapPieces(x) { Kernels.current.silu($0, $1, $2) }
}
