/// The result of a layer normalisation, with the statistics that its gradient needs.
public struct LayerNormalization: Sendable {
    /// As `x`.
    public let output: Tensor
    /// The mean of each normalised row, with extents of 1 from `axis` on.
    public let mean: Tensor
    /// `1 / √(variance + epsilon)` of each normalised row.
    public let inverseDeviation: Tensor
}

/// Returns `(x - mean) / √(variance + epsilon) · weight + bias` over the dimensions from `axis` on.
///
/// Ba et al., "Layer Normalization", 2016 (arXiv:1607.06450), equation 4. Mean and variance are summed in `Double`.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - weight: Broadcasts to the normalised dimensions.
///   - bias: Broadcasts to the normalised dimensions, or none.
///   - axis: The first normalised dimension, counted from the end where negative.
///   - epsilon: Added to the variance; above 0.
/// - Returns: The output and the statistics: float64 where all operands are, else float32. Gradients reach the output's
///   operands.
public func layerNormWithStatistics(
    _ x: Tensor, weight: Tensor, bias: Tensor?, axis: Int = -1, epsilon: Double = 1e-5
) -> LayerNormalization {
    let axis = x.resolved(axis)
    let (output, center, factor) = normalize(x, weight, bias, axis, epsilon, isCentred: true)
    let shape = Array(x.shape[..<axis]) + [Int](repeating: 1, count: x.rank - axis)
    return LayerNormalization(
        output: output, mean: center.reshaped(to: shape).converted(to: output.elementType),
        inverseDeviation: factor.reshaped(to: shape).converted(to: output.elementType))
}

/// Returns `(x - mean) / √(variance + epsilon) · weight + bias` over the dimensions from `axis` on.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - weight: Broadcasts to the normalised dimensions.
///   - bias: Broadcasts to the normalised dimensions, or none.
///   - axis: The first normalised dimension, counted from the end where negative.
///   - epsilon: Added to the variance; above 0.
/// - Returns: A tensor of the same shape: float64 where all operands are, else float32.
public func layerNorm(
    _ x: Tensor, weight: Tensor, bias: Tensor? = nil, axis: Int = -1, epsilon: Double = 1e-5
) -> Tensor {
    normalize(x, weight, bias, x.resolved(axis), epsilon, isCentred: true).output
}

/// Returns `x / √(mean(x²) + epsilon) · weight` over the dimensions from `axis` on.
///
/// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019 (arXiv:1910.07467), equation 4. The mean is
/// summed in `Double`.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - weight: Broadcasts to the normalised dimensions.
///   - axis: The first normalised dimension, counted from the end where negative.
///   - epsilon: Added to the mean square; above 0.
/// - Returns: A tensor of the same shape: float64 where all operands are, else float32.
public func rmsNorm(_ x: Tensor, weight: Tensor, axis: Int = -1, epsilon: Double = 1e-5) -> Tensor {
    normalize(x, weight, nil, x.resolved(axis), epsilon, isCentred: false).output
}

/// Returns the normalised rows, and each row's center and factor as float64.
private func normalize(
    _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, _ axis: Int, _ epsilon: Double, isCentred: Bool
) -> (output: Tensor, center: Tensor, factor: Tensor) {
    computedType(x, weight, bias ?? weight) == .float64
        ? normalize(x, weight, bias, axis, epsilon, isCentred, as: Double.self)
        : normalize(x, weight, bias, axis, epsilon, isCentred, as: Float.self)
}

private func normalize<Scalar: KernelScalar>(
    _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, _ axis: Int, _ epsilon: Double, _ isCentred: Bool,
    as type: Scalar.Type
) -> (output: Tensor, center: Tensor, factor: Tensor) {
    let shape = Array(x.shape[axis...])
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let scales = weight.detached.converted(to: Scalar.elementType).expanded(to: shape).contiguous()
    let shifts = bias?.detached.converted(to: Scalar.elementType).expanded(to: shape).contiguous()
    let rows = NormalizedRows<Scalar>(input: input, weight: scales, rowLength: Tensor.elementCount(of: shape))
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let out = result.pointer(as: Scalar.self)
    parallel(rows.blockCount) { block in
        for row in rows.block(block) {
            rows.normalize(
                row, epsilon: epsilon, isCentred: isCentred, shifts?.pointer(as: Scalar.self),
                into: out + row * rows.rowLength)
        }
    }
    withExtendedLifetime((rows, shifts)) {}
    let (weightShape, biasShape) = (weight.shape, bias?.shape ?? [])
    let output = result.recorded(from: [x, weight, bias]) { gradient, isWanted in
        let gradients = rows.gradients(of: gradient.contiguous(), isCentred: isCentred, isWanted: isWanted)
        return [
            gradients.input, gradients.weight?.reshaped(to: shape).summed(to: weightShape),
            gradients.bias?.reshaped(to: shape).summed(to: biasShape),
        ]
    }
    return (output, rows.center, rows.factor)
}

/// The rows that a normalisation takes together, `(x - center) · factor · weight`, with each row's two numbers.
private struct NormalizedRows<Scalar: KernelScalar>: Sendable {
    let input: Tensor
    let weight: Tensor
    let rowLength: Int
    let rowCount: Int
    /// `[rows]`, float64.
    let center: Tensor
    let factor: Tensor
    /// Rows of a block are one thread's: enough of them that a block's own sums of columns cost little.
    static var blockLength: Int { 32 }

    init(input: Tensor, weight: Tensor, rowLength: Int) {
        self.input = input
        self.weight = weight
        self.rowLength = rowLength
        rowCount = rowLength == 0 ? 0 : input.elementCount / rowLength
        // There are as many as the result's statistics have elements, also where the rows have none.
        let statisticCount = rowLength == 0 ? Tensor.elementCount(of: input.shape.dropLast(weight.rank)) : rowCount
        center = Tensor(zeros: [statisticCount], elementType: .float64)
        factor = Tensor(zeros: [statisticCount], elementType: .float64)
    }

    var blockCount: Int { blocks(of: rowCount, by: Self.blockLength) }

    func block(_ index: Int) -> Range<Int> { range(index, by: Self.blockLength, upTo: rowCount) }

    /// Writes `(x - center) · factor · weight + bias`, with a bias where rows are centred alone; keeps center and factor.
    func normalize(
        _ row: Int, epsilon: Double, isCentred: Bool, _ bias: UnsafeMutablePointer<Scalar>?,
        into out: UnsafeMutablePointer<Scalar>
    ) {
        let x = input.pointer(as: Scalar.self) + row * rowLength
        let scale = weight.pointer(as: Scalar.self)
        let (center, factor): (Double, Double)
        if isCentred {
            (center, factor) = Scalar.layerNorm(out, x, scale, bias, rowLength, epsilon: epsilon)
        } else {
            (center, factor) = (0, inverseRootMeanSquare(of: x, rowLength, epsilon: epsilon))
            writeNormalized(x, rowLength, factor, scale, into: out)
        }
        self.center.pointer(as: Double.self)[row] = center
        self.factor.pointer(as: Double.self)[row] = factor
    }

    // forward: n = (x - center) · factor; output = n · weight + bias
    //
    // With d = gradient · weight: ∂x = factor · (d - mean(d · n) · n), less factor · mean(d) where rows are centred;
    // ∂weight = Σ gradient · n and ∂bias = Σ gradient over the rows.
    func gradients(
        of gradient: Tensor, isCentred: Bool, isWanted: [Bool]
    ) -> (input: Tensor?, weight: Tensor?, bias: Tensor?) {
        let inputGradient = isWanted[0] ? Tensor(uninitialized: input.shape, elementType: Scalar.elementType) : nil
        // Each block adds up its own rows; the blocks' sums are added in their order, for the same bits in any order
        // that they were made in.
        let needsSums = isWanted[1] || isWanted[2]
        let weightSums = Tensor(zeros: [needsSums ? blockCount : 0, rowLength], elementType: Scalar.elementType)
        let biasSums = Tensor(zeros: [needsSums ? blockCount : 0, rowLength], elementType: Scalar.elementType)
        let (g, scale) = (gradient.pointer(as: Scalar.self), weight.pointer(as: Scalar.self))
        parallel(blockCount) { block in
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: rowLength) { scratch in
                guard let normalized = scratch.baseAddress else { return }
                let weightSum = weightSums.pointer(as: Scalar.self) + block * rowLength
                let biasSum = biasSums.pointer(as: Scalar.self) + block * rowLength
                for row in self.block(block) {
                    let x = input.pointer(as: Scalar.self) + row * rowLength
                    let g = g + row * rowLength
                    let (center, factor) = (
                        center.pointer(as: Double.self)[row], factor.pointer(as: Double.self)[row]
                    )
                    for column in 0..<rowLength {
                        normalized[column] = Scalar((Double(x[column]) - center) * factor)
                    }
                    if needsSums {
                        for column in 0..<rowLength { weightSum[column] += g[column] * normalized[column] }
                        for column in 0..<rowLength { biasSum[column] += g[column] }
                    }
                    guard let out = inputGradient?.pointer(as: Scalar.self) else { continue }
                    let count = Double(rowLength)
                    let slope = Scalar(
                        sum(rowLength) { Double(g[$0] * scale[$0]) * Double(normalized[$0]) } / count)
                    let mean = isCentred ? Scalar(sum(rowLength) { Double(g[$0] * scale[$0]) } / count) : 0
                    let rowFactor = Scalar(factor)
                    for column in 0..<rowLength {
                        out[row * rowLength + column] =
                            rowFactor * (g[column] * scale[column] - mean - slope * normalized[column])
                    }
                }
            }
        }
        withExtendedLifetime((self, gradient)) {}
        return (
            inputGradient, isWanted[1] ? weightSums.summed(to: [rowLength]) : nil,
            isWanted[2] ? biasSums.summed(to: [rowLength]) : nil
        )
    }
}

/// Returns `1 / √(mean(x²) + epsilon)`.
func inverseRootMeanSquare<Scalar: KernelScalar>(
    of x: UnsafePointer<Scalar>, _ count: Int, epsilon: Double
) -> Double {
    let squares = sum(count) { Double(x[$0]) * Double(x[$0]) }
    return 1 / (squares / Double(count) + epsilon).squareRoot()
}

/// Writes `x · factor · weight`.
func writeNormalized<Scalar: KernelScalar>(
    _ x: UnsafePointer<Scalar>, _ count: Int, _ factor: Double, _ weight: UnsafePointer<Scalar>,
    into out: UnsafeMutablePointer<Scalar>
) {
    for column in 0..<count { out[column] = Scalar(Double(x[column]) * factor) * weight[column] }
}

/// Adds up a number per column, in four sums side by side: one would wait for itself at every step.
@inline(__always)
private func sum(_ count: Int, _ term: (Int) -> Double) -> Double {
    var (first, second, third, fourth) = (0.0, 0.0, 0.0, 0.0)
    var column = 0
    while column + 4 <= count {
        first += term(column)
        second += term(column + 1)
        third += term(column + 2)
        fourth += term(column + 3)
        column += 4
    }
    while column < count {
        first += term(column)
        column += 1
    }
    return (first + second) + (third + fourth)
}
