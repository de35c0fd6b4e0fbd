#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Rotary position embedding: pairs of elements of queries and keys are rotated by an angle that grows with the
/// position, so that their dot product depends on the distance alone.
///
/// Su et al., "RoFormer", 2021 (arXiv:2104.09864), equation 34.
public struct RotaryEmbedding: Sendable, Hashable, Codable {
    /// Which elements form a pair.
    public enum Layout: String, Sendable, Hashable, Codable {
        /// Element `i` with `i + D/2`: checkpoints in safetensors.
        case half
        /// Element `2i` with `2i + 1`: Llama checkpoints in GGUF.
        case interleaved
    }

    /// How the angles are changed for contexts longer than those trained on.
    public enum Scaling: Sendable, Hashable, Codable {
        /// Not at all.
        case none
        /// Positions are divided by a factor. Chen et al., 2023 (arXiv:2306.15595).
        case linear(factor: Double)
        /// The base is raised so that the slowest pair turns `factor` times as slowly ("NTK-aware").
        case ntk(factor: Double)
        /// Slow pairs are divided by a factor, fast ones are not, those between are blended. Grattafiori et al.,
        /// "The Llama 3 Herd of Models", 2024 (arXiv:2407.21783), as its checkpoints configure it.
        case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, trainedLength: Int)
        /// Each pair's frequency is divided by a number of its own, as GGUF files of Llama 3.1 store it.
        case perPair(divisors: [Double])
    }

    /// How many elements of a head, from the first, are rotated; even.
    public let dimension: Int
    /// The base of the angles' geometric series: 10,000 in the paper.
    public let base: Double
    /// Which elements form a pair.
    public let layout: Layout
    /// How the angles are changed for longer contexts.
    public let scaling: Scaling

    /// Creates an embedding.
    ///
    /// - Parameters:
    ///   - dimension: How many elements of a head are rotated; even. The others stay as they are.
    ///   - base: The base of the angles' geometric series; above 0.
    ///   - layout: Which elements form a pair.
    ///   - scaling: How the angles are changed for longer contexts.
    public init(dimension: Int, base: Double = 10_000, layout: Layout, scaling: Scaling = .none) {
        require(dimension > 0 && dimension % 2 == 0, "\(dimension) elements cannot be rotated in pairs.")
        require(base > 0 && base.isFinite, "The rotary base is \(base); it must be above 0.")
        if case .perPair(let divisors) = scaling {
            require(
                divisors.count == dimension / 2, "There are \(divisors.count) divisors for \(dimension / 2) pairs.")
        }
        self.dimension = dimension
        self.base = base
        self.layout = layout
        self.scaling = scaling
    }

    /// The angle of each pair per position, in radians, `dimension / 2` of them.
    public var frequencies: [Double] {
        (0..<dimension / 2).map { pair in
            let exponent = Double(2 * pair) / Double(dimension)
            let frequency = pow(base, -exponent)
            switch scaling {
            case .none: return frequency
            case .linear(let factor): return frequency / factor
            case .ntk(let factor):
                let raised = base * pow(factor, Double(dimension) / Double(max(1, dimension - 2)))
                return pow(raised, -exponent)
            case .perPair(let divisors): return frequency / divisors[pair]
            case .llama3(let factor, let low, let high, let trainedLength):
                let turns = Double(trainedLength) * frequency / (2 * .pi)
                if turns < low { return frequency / factor }
                if turns > high { return frequency }
                let blend = (turns - low) / (high - low)
                return (1 - blend) * frequency / factor + blend * frequency
            }
        }
    }

    /// Returns the cosines and sines that rotate tokens at given positions, to be used for many layers.
    ///
    /// - Parameters:
    ///   - positions: The position of each of the `T` tokens of each sequence, `[B][T]`.
    ///   - elementType: float32 or float64.
    /// - Returns: `[B, T, dimension / 2]` each, for ``rotate(_:cosines:sines:layout:)``.
    public func angles(
        positions: [[Int]], elementType: ElementType = .float32
    ) -> (cosines: Tensor, sines: Tensor) {
        let frequencies = frequencies
        let length = positions.first?.count ?? 0
        require(
            positions.allSatisfy { $0.count == length },
            "Sequences of \(positions.map(\.count)) positions do not make a batch.")
        // Most batches have the same positions in each sequence.
        let isShared = positions.allSatisfy { $0 == positions[0] }
        var (cosines, sines): ([Double], [Double]) = ([], [])
        for position in (isShared ? positions.prefix(1) : positions[...]).joined() {
            for frequency in frequencies {
                cosines.append(cos(Double(position) * frequency))
                sines.append(sin(Double(position) * frequency))
            }
        }
        func tensor(_ numbers: [Double]) -> Tensor {
            let extents = [isShared ? min(1, positions.count) : positions.count, length, dimension / 2]
            return Tensor(numbers, shape: extents).converted(to: elementType)
                .expanded(to: [positions.count, length, dimension / 2])
        }
        return (tensor(cosines), tensor(sines))
    }

    /// Returns `x` rotated.
    ///
    /// - Parameters:
    ///   - x: `[B, H, T, D]`, with `D` at least ``dimension``.
    ///   - positions: The position of each of the `T` tokens of each sequence, `[B][T]`.
    /// - Returns: A contiguous tensor of the same shape: float64 for float64, else float32.
    public func callAsFunction(_ x: Tensor, positions: [[Int]]) -> Tensor {
        require(x.rank == 4, "Rotary embedding takes [B, H, T, D], not \(x.shape).")
        require(
            positions.map(\.count) == [Int](repeating: x.shape[2], count: x.shape[0]),
            "There are positions for \(positions.map(\.count)) tokens, but x is \(x.shape).")
        let (cosines, sines) = angles(positions: positions, elementType: computedType(x))
        return rotate(x, cosines: cosines, sines: sines, layout: layout)
    }
}

/// Returns `x` with pairs of elements rotated by given angles.
///
/// A pair `(a, b)` becomes `(a cos - b sin, b cos + a sin)`. Elements beyond the pairs stay as they are. Gradients reach
/// `x`, not the angles.
///
/// - Parameters:
///   - x: `[B, H, T, D]`.
///   - cosines: `[B, T, P]` with `2P ≤ D`.
///   - sines: `[B, T, P]`.
///   - layout: Which elements form a pair.
/// - Returns: A contiguous tensor of the same shape: float64 for float64, else float32.
public func rotate(_ x: Tensor, cosines: Tensor, sines: Tensor, layout: RotaryEmbedding.Layout) -> Tensor {
    require(x.rank == 4 && cosines.rank == 3, "Rotation takes [B, H, T, D] and [B, T, P].")
    let pairCount = cosines.shape[2]
    require(
        cosines.shape == [x.shape[0], x.shape[2], pairCount] && sines.shape == cosines.shape
            && 2 * pairCount <= x.shape[3],
        "Angles of shapes \(cosines.shape) and \(sines.shape) do not fit \(x.shape).")
    return x.elementType == .float64
        ? rotate(x, cosines, sines, layout, as: Double.self) : rotate(x, cosines, sines, layout, as: Float.self)
}

private func rotate<Scalar: KernelScalar>(
    _ x: Tensor, _ cosines: Tensor, _ sines: Tensor, _ layout: RotaryEmbedding.Layout, as type: Scalar.Type
) -> Tensor {
    let cosines = cosines.detached.converted(to: Scalar.elementType).contiguous()
    let sines = sines.detached.converted(to: Scalar.elementType).contiguous()
    return rotated(x.detached, cosines, sines, direction: Scalar(1), layout).recorded(from: [x]) { gradient, _ in
        // A rotation's transpose is the rotation back.
        [rotated(gradient, cosines, sines, direction: Scalar(-1), layout)]
    }
}

private func rotated<Scalar: KernelScalar>(
    _ x: Tensor, _ cosines: Tensor, _ sines: Tensor, direction: Scalar, _ layout: RotaryEmbedding.Layout
) -> Tensor {
    let result = x.copied(to: Scalar.elementType)
    let (cosine, sine) = (cosines.pointer(as: Scalar.self), sines.pointer(as: Scalar.self))
    let (headCount, length, dimension) = (x.shape[1], x.shape[2], x.shape[3])
    let pairCount = cosines.shape[2]
    // The heads of a single token are rotated sooner than another thread hears of them.
    let headsPerItem = max(1, 16_384 / max(1, length * dimension))
    let sequenceCount = x.shape[0] * headCount
    let out = result.pointer(as: Scalar.self)
    parallel(blocks(of: sequenceCount, by: headsPerItem)) { item in
        for sequence in range(item, by: headsPerItem, upTo: sequenceCount) {
            for token in 0..<length {
                let row = out + (sequence * length + token) * dimension
                let angle = (sequence / headCount * length + token) * pairCount
                rotatePairs(of: row, cosine + angle, sine + angle, pairCount, direction: direction, layout)
            }
        }
    }
    withExtendedLifetime((cosines, sines)) {}
    return result
}

/// Rotates the pairs of one head's elements in place.
@inline(__always)
func rotatePairs<Scalar: KernelScalar>(
    of row: UnsafeMutablePointer<Scalar>, _ cosines: UnsafePointer<Scalar>, _ sines: UnsafePointer<Scalar>,
    _ pairCount: Int, direction: Scalar, _ layout: RotaryEmbedding.Layout
) {
    // A pair's elements are `gap` apart, and pairs `step`.
    let (gap, step) = layout == .half ? (pairCount, 1) : (1, 2)
    for pair in 0..<pairCount {
        let (c, s) = (cosines[pair], direction * sines[pair])
        let (a, b) = (row[pair * step], row[pair * step + gap])
        row[pair * step] = a * c - b * s
        row[pair * step + gap] = b * c + a * s
    }
}
