/// Query `i` sees key `j` if and only if `j ≤ i + offset`.
struct Causal: IntervalMaskRule {
    let offsets: PerSequence

    func visibleKeys(batch: Int, query: Int) -> Range<Int> {
        Int.min..<(query + offsets[batch] + 1)
    }

    func problem(for shape: AttentionShape) -> String? {
        offsets.problem(as: "causal offsets", for: shape)
    }
}

extension AttentionMask {
    /// Query `i` sees key `j` if and only if `j ≤ i + offset`.
    ///
    /// The offset says how queries and keys are aligned: 0 where both begin at the same position, the number
    /// of earlier keys where the queries continue a cache, `T_k - T_q` where both end at the same position. A
    /// negative one leaves the first queries without any key.
    ///
    /// - Parameter offset: The position of the first query less that of the first key.
    /// - Returns: The mask.
    public static func causal(offset: Int) -> AttentionMask {
        AttentionMask(Causal(offsets: .shared(offset)))
    }

    /// Query `i` of sequence `b` sees key `j` if and only if `j ≤ i + offsets[b]`.
    ///
    /// - Parameter offsets: One per sequence of the batch.
    /// - Returns: The mask.
    public static func causal(offsets: [Int]) -> AttentionMask {
        AttentionMask(Causal(offsets: .each(offsets)))
    }
}
