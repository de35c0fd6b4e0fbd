/// Returns `x Wᵀ + b`: each row of `x` times each row of the weight.
///
/// - Parameters:
///   - x: `[…, D]`, floating-point.
///   - weight: `[F, D]`.
///   - bias: `[F]`, or none.
/// - Returns: `[…, F]`: float64 where `x` and `weight` are; bfloat16 where they are and no gradient is recorded, with sums
///   in float32 that are rounded at the end; else float32.
/// - Precondition: The shapes agree.
public func linear(_ x: Tensor, weight: Tensor, bias: Tensor? = nil) -> Tensor {
    require(
        weight.rank == 2 && x.rank >= 1 && x.shape.last == weight.shape[1],
        "\(x.shape) cannot be multiplied by weights \(weight.shape): the last extents must agree.")
    require(
        bias == nil || bias?.shape == [weight.shape[0]],
        "The bias is \(bias?.shape ?? []), but the weights are \(weight.shape).")
    if x.elementType == .bfloat16 && weight.elementType == .bfloat16 && !isRecorded([x, weight, bias]) {
        let weights = weight.contiguous()
        let product = bfloat16Product(x, weights.base, columns: weight.shape[0], bias: bias)
        withExtendedLifetime(weights) {}
        return product
    }
    return computedType(x, weight) == .float64
        ? linear(x, weight, bias, as: Double.self) : linear(x, weight, bias, as: Float.self)
}

/// Returns `x Wᵀ + b` of bfloat16 numbers, as such, for weights `[columns, D]` that lie side by side.
func bfloat16Product(_ x: Tensor, _ weights: UnsafeRawPointer, columns: Int, bias: Tensor?) -> Tensor {
    let input = x.detached.contiguous()
    let biases = bias?.detached.converted(to: .float32).contiguous()
    let result = Tensor(uninitialized: x.shape.dropLast() + [columns], elementType: .bfloat16)
    multiplyBFloat16(
        input.base, weights, rows: Tensor.elementCount(of: Array(x.shape.dropLast())), columns: columns,
        depth: x.shape[x.rank - 1], bias: biases.map { UnsafePointer($0.pointer(as: Float.self)) },
        into: result.pointer(as: UInt16.self))
    withExtendedLifetime((input, biases)) {}
    return result
}

private func linear<Scalar: KernelScalar>(
    _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, as type: Scalar.Type
) -> Tensor {
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let weights = weight.detached.converted(to: Scalar.elementType).contiguous()
    let biases = bias?.detached.converted(to: Scalar.elementType).contiguous()
    let (outputs, inputs) = (weight.shape[0], weight.shape[1])
    let rows = Tensor.elementCount(of: Array(x.shape.dropLast()))
    let result = Tensor(uninitialized: x.shape.dropLast() + [outputs], elementType: Scalar.elementType)
    multiply(
        MatrixOperand(rows: input.pointer(as: Scalar.self), rowStride: inputs),
        MatrixOperand(transposed: weights.pointer(as: Scalar.self), rowStride: inputs), rows: rows, columns: outputs,
        depth: inputs, into: result.pointer(as: Scalar.self), outStride: outputs,
        bias: biases.map { UnsafePointer($0.pointer(as: Scalar.self)) })
    withExtendedLifetime((input, weights, biases)) {}
    return result.recorded(from: [x, weight, bias]) { gradient, isWanted in
        let gradient = gradient.contiguous()
        let outputGradient = MatrixOperand(
            rows: UnsafePointer(gradient.pointer(as: Scalar.self)), rowStride: outputs)
        defer { withExtendedLifetime((gradient, input, weights)) {} }
        var gradients: [Tensor?] = [nil, nil, nil]
        if isWanted[0] {
            // forward: output = x Wᵀ
            let inputGradient = Tensor(uninitialized: input.shape, elementType: Scalar.elementType)
            multiply(
                outputGradient, MatrixOperand(rows: weights.pointer(as: Scalar.self), rowStride: inputs), rows: rows,
                columns: inputs, depth: outputs, into: inputGradient.pointer(as: Scalar.self), outStride: inputs)
            gradients[0] = inputGradient
        }
        if isWanted[1] {
            let weightGradient = Tensor(uninitialized: weights.shape, elementType: Scalar.elementType)
            multiply(
                MatrixOperand(transposed: gradient.pointer(as: Scalar.self), rowStride: outputs),
                MatrixOperand(rows: input.pointer(as: Scalar.self), rowStride: inputs), rows: outputs, columns: inputs,
                depth: rows, into: weightGradient.pointer(as: Scalar.self), outStride: inputs)
            gradients[1] = weightGradient
        }
        if isWanted[2] { gradients[2] = gradient.summed(to: [outputs]) }
        return gradients
    }
}
