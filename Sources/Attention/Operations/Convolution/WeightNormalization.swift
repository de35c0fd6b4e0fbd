/// Returns `magnitude · direction / ‖direction‖` for each output of a weight: its length and direction learn apart.
///
/// Salimans and Kingma, "Weight Normalization", 2016 (arXiv:1602.07868), equation 2. A direction of length 0 is no
/// direction: its weights are zeros, and so is its gradient.
///
/// - Parameters:
///   - direction: `[O, …]`; PyTorch's `weight_v`.
///   - magnitude: `[O, 1, …]`, one number for each output; PyTorch's `weight_g`.
/// - Returns: A tensor of the shape of `direction`: float64 where both are, else float32.
public func weightNormalized(direction: Tensor, magnitude: Tensor) -> Tensor {
    require(
        direction.rank >= 1 && magnitude.elementCount == direction.shape[0]
            && magnitude.shape.first == direction.shape[0],
        "The directions are \(direction.shape), but the magnitudes \(magnitude.shape).")
    return computedType(direction, magnitude) == .float64
        ? weightNormalized(direction, magnitude, as: Double.self)
        : weightNormalized(direction, magnitude, as: Float.self)
}

private func weightNormalized<Scalar: KernelScalar>(
    _ direction: Tensor, _ magnitude: Tensor, as type: Scalar.Type
) -> Tensor {
    let directions = direction.detached.converted(to: Scalar.elementType).contiguous()
    let magnitudes = magnitude.detached.converted(to: Scalar.elementType).contiguous()
    let rows = direction.shape[0]
    let count = rows == 0 ? 0 : directions.elementCount / rows
    let result = Tensor(uninitialized: directions.shape, elementType: Scalar.elementType)
    let (v, g) = (directions.pointer(as: Scalar.self), magnitudes.pointer(as: Scalar.self))
    let out = result.pointer(as: Scalar.self)
    for row in 0..<rows {
        let factor = g[row] * inverseLength(v + row * count, count)
        for index in row * count..<(row + 1) * count { out[index] = factor * v[index] }
    }
    withExtendedLifetime((directions, magnitudes)) {}
    return result.recorded(from: [direction, magnitude]) { gradient, _ in
        let gradient = gradient.contiguous()
        let directionGradient = Tensor(uninitialized: directions.shape, elementType: Scalar.elementType)
        let magnitudeGradient = Tensor(uninitialized: magnitudes.shape, elementType: Scalar.elementType)
        let (v, g) = (directions.pointer(as: Scalar.self), magnitudes.pointer(as: Scalar.self))
        let source = gradient.pointer(as: Scalar.self)
        let (dv, dg) = (directionGradient.pointer(as: Scalar.self), magnitudeGradient.pointer(as: Scalar.self))
        for row in 0..<rows {
            // forward: w = g · v / ‖v‖
            let inverse = inverseLength(v + row * count, count)
            var along = 0.0
            for index in row * count..<(row + 1) * count { along += Double(source[index]) * Double(v[index]) }
            dg[row] = Scalar(along) * inverse
            let share = dg[row] * inverse
            for index in row * count..<(row + 1) * count {
                dv[index] = g[row] * inverse * (source[index] - share * v[index])
            }
        }
        withExtendedLifetime((gradient, directions, magnitudes)) {}
        return [directionGradient, magnitudeGradient]
    }
}

/// Returns `1 / ‖row‖`, or 0 for a row of zeros.
private func inverseLength<Scalar: KernelScalar>(_ row: UnsafePointer<Scalar>, _ count: Int) -> Scalar {
    var squares = 0.0
    for index in 0..<count { squares += Double(row[index]) * Double(row[index]) }
    return squares == 0 ? 0 : Scalar(1 / squares.squareRoot())
}
