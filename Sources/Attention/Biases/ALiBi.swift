/// A penalty that grows with the distance between query and key: `-slope · |i + offset - j|`.
///
/// Press et al., "Train Short, Test Long", 2021 (arXiv:2108.12409).
struct ALiBi: BiasRule {
    let slopes: [Double]
    /// What the slopes were read from, where they came as a tensor.
    let source: Tensor?
    let offsets: PerSequence

    init(_ slopes: [Double], offsets: PerSequence) {
        self.slopes = slopes
        source = nil
        self.offsets = offsets
    }

    init(_ slopes: Tensor, offsets: PerSequence) {
        require(
            slopes.rank == 1 && slopes.elementType.isFloatingPoint,
            "ALiBi needs slopes [H], not \(slopes.elementType) \(slopes.shape).")
        self.slopes = slopes.doubles
        source = slopes
        self.offsets = offsets
    }

    func value(batch: Int, head: Int, query: Int, key: Int) -> Double {
        -slopes[head] * Double(distance(batch: batch, query: query, key: key))
    }

    func distance(batch: Int, query: Int, key: Int) -> Int {
        abs(query + offsets[batch] - key)
    }

    func problem(for shape: AttentionShape) -> String? {
        if slopes.count != shape.headCount {
            return "ALiBi has \(slopes.count) slopes, but there are \(shape.headCount) query heads."
        }
        return offsets.problem(as: "ALiBi offsets", for: shape)
    }
}

extension ScoreBias {
    /// A penalty that grows with the distance between query and key: `-slope · |i + offset - j|`.
    ///
    /// - Parameters:
    ///   - slopes: One per query head; ``alibiSlopes(headCount:)`` gives the paper's.
    ///   - offset: The position of the first query less that of the first key.
    /// - Returns: The bias.
    public static func alibi(slopes: [Double], offset: Int = 0) -> ScoreBias {
        ScoreBias(ALiBi(slopes, offsets: .shared(offset)))
    }

    /// As ``alibi(slopes:offset:)``, with an offset per sequence of the batch.
    ///
    /// - Parameters:
    ///   - slopes: One per query head.
    ///   - offsets: One per sequence.
    /// - Returns: The bias.
    public static func alibi(slopes: [Double], offsets: [Int]) -> ScoreBias {
        ScoreBias(ALiBi(slopes, offsets: .each(offsets)))
    }

    /// As ``alibi(slopes:offset:)``, with slopes that may be tracked.
    ///
    /// - Parameters:
    ///   - slopes: `[H]`.
    ///   - offset: The position of the first query less that of the first key.
    /// - Returns: The bias.
    public static func alibi(slopes: Tensor, offset: Int = 0) -> ScoreBias {
        ScoreBias(ALiBi(slopes, offsets: .shared(offset)))
    }

    /// As ``alibi(slopes:offsets:)``, with slopes that may be tracked.
    ///
    /// - Parameters:
    ///   - slopes: `[H]`.
    ///   - offsets: One per sequence.
    /// - Returns: The bias.
    public static func alibi(slopes: Tensor, offsets: [Int]) -> ScoreBias {
        ScoreBias(ALiBi(slopes, offsets: .each(offsets)))
    }

    /// Returns the paper's slopes: 2^(-8/H), 2^(-16/H), …; for a number of heads that is no power of two, those
    /// of the next lower power and then every other one of the next higher.
    ///
    /// - Parameter headCount: `H`, at least 1.
    /// - Returns: One slope per head.
    public static func alibiSlopes(headCount: Int) -> [Double] {
        require(headCount > 0, "ALiBi needs at least one head, not \(headCount).")
        func powers(_ count: Int) -> [Double] {
            (1...count).map { .exp(-Double.log(2) * 8 * Double($0) / Double(count)) }
        }
        var lower = 1
        while lower * 2 <= headCount { lower *= 2 }
        let between = stride(from: 0, to: 2 * lower, by: 2).map { powers(2 * lower)[$0] }
        return powers(lower) + between.prefix(headCount - lower)
    }
}
