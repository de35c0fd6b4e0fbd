/// Returns how near each position is to a centre: `exp(-(j - center)² / 2σ²)` for positions `j` counted from 0.
///
/// What Luong's local attention multiplies its weights by, so that the centre can be learned.
///
/// Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015 (arXiv:1508.04025),
/// equation 10.
///
/// - Parameters:
///   - centers: `[…]`, floating-point, in positions.
///   - length: `S`, how many positions there are.
///   - deviation: σ, in positions; above 0.
/// - Returns: `[…, S]`: float64 for float64, else float32.
public func gaussianWindow(centers: Tensor, length: Int, deviation: Double) -> Tensor {
    require(deviation > 0, "The deviation is \(deviation); it must be above 0.")
    return centers.elementType == .float64
        ? gaussianWindow(centers, length, deviation, as: Double.self)
        : gaussianWindow(centers, length, Float(deviation), as: Float.self)
}

private func gaussianWindow<Scalar: KernelScalar>(
    _ centers: Tensor, _ length: Int, _ deviation: Scalar, as type: Scalar.Type
) -> Tensor {
    let input = centers.detached.converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: centers.shape + [length], elementType: Scalar.elementType)
    let (out, source) = (result.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
    for index in 0..<input.elementCount {
        for position in 0..<length {
            let distance = (Scalar(position) - source[index]) / deviation
            out[index * length + position] = .exp(-distance * distance / 2)
        }
    }
    return result.recorded(from: [centers]) { gradient, _ in
        let gradient = gradient.contiguous()
        let centerGradient = Tensor(uninitialized: input.shape, elementType: Scalar.elementType)
        let (out, centers) = (centerGradient.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
        let (gradients, values) = (gradient.pointer(as: Scalar.self), result.pointer(as: Scalar.self))
        for index in 0..<input.elementCount {
            var sum: Scalar = 0
            for position in 0..<length {
                // forward: value = exp(-distance² / 2), distance = (position - center) / deviation
                let place = index * length + position
                sum += gradients[place] * values[place] * (Scalar(position) - centers[index])
            }
            out[index] = sum / (deviation * deviation)
        }
        withExtendedLifetime((gradient, input, result)) {}
        return [centerGradient]
    }
}
