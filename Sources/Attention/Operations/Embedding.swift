/// Returns the row of each index: the look-up of an embedding.
///
/// - Parameters:
///   - weight: `[V, M]`, floating-point.
///   - indices: Each from 0 to less than `V`.
/// - Returns: `[N, M]`, one row per index: float64 for float64, else float32.
public func embedding(weight: Tensor, indices: [Int]) -> Tensor {
    require(weight.rank == 2, "An embedding is [V, M], not \(weight.shape).")
    for index in indices {
        require(0..<weight.shape[0] ~= index, "Row \(index) was asked for, but there are \(weight.shape[0]).")
    }
    return weight.elementType == .float64
        ? embedding(weight, indices, as: Double.self) : embedding(weight, indices, as: Float.self)
}

private func embedding<Scalar: KernelScalar>(_ weight: Tensor, _ indices: [Int], as type: Scalar.Type) -> Tensor {
    let (shape, columns) = (weight.shape, weight.shape[1])
    let result = Tensor(uninitialized: [indices.count, columns], elementType: Scalar.elementType)
    for (place, index) in indices.enumerated() {
        weight.read(
            into: result.pointer(as: Scalar.self) + place * columns, from: index * weight.strides[0], count: columns,
            stride: weight.strides[1])
    }
    return result.recorded(from: [weight]) { gradient, _ in
        let gradient = gradient.contiguous()
        let weightGradient = Tensor(zeros: shape, elementType: Scalar.elementType)
        let (out, source) = (weightGradient.pointer(as: Scalar.self), gradient.pointer(as: Scalar.self))
        // A piece of the columns is one thread's, which adds the rows of equal indices in their order.
        let pieceLength = 64
        parallel(blocks(of: columns, by: pieceLength)) { piece in
            let range = range(piece, by: pieceLength, upTo: columns)
            for (place, index) in indices.enumerated() {
                // forward: result[place] = weight[index]
                let (sum, addend) = (out + index * columns, source + place * columns)
                for column in range { sum[column] += addend[column] }
            }
        }
        withExtendedLifetime(gradient) {}
        return [weightGradient]
    }
}
