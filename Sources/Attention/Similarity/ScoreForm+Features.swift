extension ScoreForm {
    /// The tensors of the form, `nil` where it has none: what its gradients are asked for.
    var parameters: [Tensor?] {
        [scaleTensor, weights] + queries.parameters + keys.parameters
    }

    /// The weights of an additive form.
    var weights: Tensor? {
        if case .additive(let weights) = operation { return weights }
        return nil
    }

    /// The form that is left when queries and keys are features already, without a past.
    var afterMaps: ScoreForm {
        if case .additive(let weights) = operation {
            return ScoreForm(.additive(weights: weights.detached), scale: scale)
        }
        return ScoreForm(operation, scale: scale)
    }
}

extension ScoreForm.FeatureMap {
    /// The tensors of the map.
    var parameters: [Tensor?] {
        if case .linear(let weight, let bias) = self { return [weight, bias] }
        return []
    }

    /// Returns φ(row) for each row of `[B, H, T, D]`, recorded: `[B, H, T, F]`.
    ///
    /// A row whose gradient is zero is not read: what a mask hides may be NaN.
    func features<Scalar: KernelScalar>(of rows: Tensor, as type: Scalar.Type) -> Tensor {
        switch self {
        case .identity: return rows
        case .normalized:
            let features = mapped(rows.detached, by: self, as: type)
            return features.recorded(from: [rows]) { [rows = rows.detached] gradient, _ in
                [gradientOfNormalized(rows, features, gradient.contiguous(), as: type).converted(to: rows.gradientType)]
            }
        case .linear(let weight, let bias):
            let map = ScoreForm.FeatureMap.linear(weight: weight.detached, bias: bias?.detached)
            let features = mapped(rows.detached, by: map, as: type)
            let operands = [rows.detached, weight.detached]
            return features.recorded(from: [rows, weight, bias]) { [biasType = bias?.gradientType] gradient, isWanted in
                let gradient = gradient.converted(to: Scalar.elementType).contiguous()
                return [
                    isWanted[0] ? gradientOfRows(operands[0], operands[1], gradient, as: type) : nil,
                    isWanted[1] ? gradientOfWeight(operands[0], operands[1], gradient, as: type) : nil,
                    isWanted[2] ? biasType.map { gradient.summed(to: [gradient.shape[3]]).converted(to: $0) } : nil,
                ]
            }
        }
    }
}

/// Returns the gradient of rows that were divided by their norms.
private func gradientOfNormalized<Scalar: KernelScalar>(
    _ rows: Tensor, _ features: Tensor, _ gradient: Tensor, as type: Scalar.Type
) -> Tensor {
    let input = rows.converted(to: Scalar.elementType).contiguous()
    let gradient = gradient.converted(to: Scalar.elementType)
    let result = Tensor(uninitialized: rows.shape, elementType: Scalar.elementType)
    let width = rows.shape[3]
    let count = width == 0 ? 0 : rows.elementCount / width
    parallel(blocks(of: count, by: 256)) { block in
        for row in range(block, by: 256, upTo: count) {
            let source = input.pointer(as: Scalar.self) + row * width
            let direction = features.pointer(as: Scalar.self) + row * width
            let rowGradient = gradient.pointer(as: Scalar.self) + row * width
            let out = result.pointer(as: Scalar.self) + row * width
            out.update(repeating: 0, count: width)
            if isZero(rowGradient, width) { continue }
            var squares = 0.0
            var along = 0.0
            for index in 0..<width {
                squares += Double(source[index]) * Double(source[index])
                along += Double(direction[index]) * Double(rowGradient[index])
            }
            if squares == 0 { continue }
            // forward: direction = source / norm
            let norm = squares.squareRoot()
            for index in 0..<width {
                out[index] = Scalar((Double(rowGradient[index]) - along * Double(direction[index])) / norm)
            }
        }
    }
    withExtendedLifetime((input, gradient)) {}
    return result
}

// forward: features = W row + b

private func gradientOfRows<Scalar: KernelScalar>(
    _ rows: Tensor, _ weight: Tensor, _ gradient: Tensor, as type: Scalar.Type
) -> Tensor {
    let weights = weight.converted(to: Scalar.elementType).contiguous()
    let (outputs, inputs) = (weight.shape[0], weight.shape[1])
    let result = Tensor(uninitialized: rows.shape, elementType: Scalar.elementType)
    multiply(
        MatrixOperand(rows: UnsafePointer(gradient.pointer(as: Scalar.self)), rowStride: outputs),
        MatrixOperand(rows: UnsafePointer(weights.pointer(as: Scalar.self)), rowStride: inputs),
        rows: Tensor.elementCount(of: Array(rows.shape.dropLast())), columns: inputs, depth: outputs,
        into: result.pointer(as: Scalar.self), outStride: inputs)
    withExtendedLifetime((gradient, weights)) {}
    return result.converted(to: rows.gradientType)
}

private func gradientOfWeight<Scalar: KernelScalar>(
    _ rows: Tensor, _ weight: Tensor, _ gradient: Tensor, as type: Scalar.Type
) -> Tensor {
    let (outputs, inputs) = (weight.shape[0], weight.shape[1])
    let count = Tensor.elementCount(of: Array(rows.shape.dropLast()))
    let input = readRows(rows, where: gradient, as: type)
    let result = Tensor(uninitialized: weight.shape, elementType: Scalar.elementType)
    multiply(
        MatrixOperand(transposed: UnsafePointer(gradient.pointer(as: Scalar.self)), rowStride: outputs),
        MatrixOperand(rows: UnsafePointer(input.pointer(as: Scalar.self)), rowStride: inputs), rows: outputs,
        columns: inputs, depth: count, into: result.pointer(as: Scalar.self), outStride: inputs)
    withExtendedLifetime((gradient, input)) {}
    return result.converted(to: weight.gradientType)
}

/// Returns the rows side by side, with zeros for those whose gradient is zero and which are no numbers: 0 · NaN is NaN.
private func readRows<Scalar: KernelScalar>(_ rows: Tensor, where gradient: Tensor, as type: Scalar.Type) -> Tensor {
    var result = rows.converted(to: Scalar.elementType).contiguous()
    let (width, outputs) = (rows.shape[3], gradient.shape[3])
    for row in 0..<(width == 0 ? 0 : rows.elementCount / width) {
        let isUnread = isZero(gradient.pointer(as: Scalar.self) + row * outputs, outputs)
        if isUnread && !isFinite(result.pointer(as: Scalar.self) + row * width, width) {
            result.makeUnique()
            (result.pointer(as: Scalar.self) + row * width).update(repeating: 0, count: width)
        }
    }
    return result
}

private func isZero<Scalar: KernelScalar>(_ row: UnsafePointer<Scalar>, _ count: Int) -> Bool {
    for index in 0..<count where row[index] != 0 { return false }
    return true
}

func isFinite<Scalar: KernelScalar>(_ row: UnsafePointer<Scalar>, _ count: Int) -> Bool {
    // 0 · x is 0 for every finite x, and NaN for the others.
    var sum: Scalar = 0
    for index in 0..<count { sum += 0 * row[index] }
    return sum == 0
}
