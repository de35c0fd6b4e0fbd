/// Returns `x` with elements set to 0 at random, and the others divided by the share that is kept.
///
/// Hinton et al., "Improving Neural Networks by Preventing Co-adaptation of Feature Detectors", 2012
/// (arXiv:1207.0580). Which elements are dropped follows from the stream's seed and position alone; the backward pass
/// draws the same numbers again, so that nothing is kept.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - rate: The share of elements to drop, from 0 to less than 1.
///   - random: Where the random numbers come from: half as many as there are elements are taken.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func dropout(_ x: Tensor, rate: Double, random: inout RandomStream) -> Tensor {
    require(0..<1 ~= rate, "The dropout rate is \(rate); it must be from 0 to less than 1.")
    if rate == 0 { return x }
    let stream = random.take((x.elementCount + 1) / 2)
    return x.elementType == .float64
        ? dropout(x, rate, stream, as: Double.self) : dropout(x, rate, stream, as: Float.self)
}

private func dropout<Scalar: KernelScalar>(
    _ x: Tensor, _ rate: Double, _ stream: RandomStream, as type: Scalar.Type
) -> Tensor {
    dropped(x.detached.converted(to: Scalar.elementType), rate, stream, as: type).recorded(from: [x]) { gradient, _ in
        // forward: result = x · mask / (1 - rate)
        [dropped(gradient, rate, stream, as: type)]
    }
}

private func dropped<Scalar: KernelScalar>(
    _ x: Tensor, _ rate: Double, _ stream: RandomStream, as type: Scalar.Type
) -> Tensor {
    let input = x.contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let (out, source) = (result.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
    let threshold = UInt64(rate * 0x1p32)
    let factor = Scalar(1 / (1 - rate))
    let pieceLength = 4096
    parallel(blocks(of: input.elementCount, by: pieceLength)) { piece in
        let range = range(piece, by: pieceLength, upTo: input.elementCount)
        // Each number serves two elements, with its lower and its upper half.
        for index in stride(from: range.lowerBound, to: range.upperBound, by: 2) {
            let bits = stream.number(index / 2)
            out[index] = bits & 0xFFFF_FFFF < threshold ? 0 : source[index] * factor
            if index + 1 < range.upperBound {
                out[index + 1] = bits >> 32 < threshold ? 0 : source[index + 1] * factor
            }
        }
    }
    withExtendedLifetime(input) {}
    return result
}
